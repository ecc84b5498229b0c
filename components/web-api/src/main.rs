//! `ringdown-web-api`.

use std::process::ExitCode;

use ringdown_service::{Admin, Daemon, run};
use ringdown_web_api::config::Config;
use ringdown_web_api::{daemon, init_admin, schema_tool};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((init_admin::NAME, rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return init_admin::run(rest);
    }
    if let Some((schema_tool::NAME, rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return schema_tool::run(rest);
    }
    let about = Daemon {
        name: "web-api",
        version: env!("CARGO_PKG_VERSION"),
        purpose: "serves the REST interface; `init-admin [--login NAME]` makes the first administrator, `schema` says where the database's schema stands",
        admin: Admin::Shared,
    };
    run(about, Config::read, daemon::start)
}
