//! The registrar's process.

use std::process::ExitCode;

use ringdown_registrar::{Config, start};
use ringdown_service::{Admin, Daemon, run};

fn main() -> ExitCode {
    let daemon = Daemon {
        name: "registrar",
        version: env!("CARGO_PKG_VERSION"),
        purpose: "knows where agents' phones are and relays SIP between them and Asterisk",
        admin: Admin::Own { default_port: 8003 },
    };
    run(daemon, Config::read, start)
}
