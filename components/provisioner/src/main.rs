//! The provisioner's process.

use std::process::ExitCode;

use ringdown_provisioner::{Config, start};
use ringdown_service::{Admin, Daemon, run};

fn main() -> ExitCode {
    let daemon = Daemon {
        name: "provisioner",
        version: env!("CARGO_PKG_VERSION"),
        purpose: "compiles the configuration into Redis and renders Asterisk's files",
        admin: Admin::Shared,
    };
    run(daemon, Config::read, start)
}
