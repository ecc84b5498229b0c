//! `ringdown`, the operator's tool: runs an installation on one host, says how it is, looks for what is wrong, simulates
//! load and explains decisions. It never needs a healthy installation to say what is wrong with it, and it never writes
//! live state: what it changes goes through the API like everybody's changes.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringdown_cli::run()
}
