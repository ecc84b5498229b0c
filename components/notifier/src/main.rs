//! The notifier's process.

use std::process::ExitCode;

use ringdown_notifier::{Config, start};
use ringdown_service::{Admin, Daemon, run};

fn main() -> ExitCode {
    let daemon = Daemon {
        name: "notifier",
        version: env!("CARGO_PKG_VERSION"),
        purpose: "pushes what happens in the contact centre to browsers over WebSocket",
        admin: Admin::Shared,
    };
    run(daemon, Config::read, start)
}
