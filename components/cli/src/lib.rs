//! The operator's tool. [`run`] is all of it; the modules below are its commands and what they share.
//!
//! - `up`, `down`: an installation on one host, all servers and daemons as children of one supervisor ([`supervise`]).
//! - `status`, `doctor`: how it is, and what to do about it.
//! - `sim`: load, as the Basic ACD's simulator makes it, or real SIP calls.
//! - `support-bundle`: what somebody who helps has to see, without secrets.
//! - `explain`: the decisions behind an interaction, in words.
//! - `sip trace`: the registrar's messages as a ladder.
//! - `host`: a host out of work, to another version and back ([`host`]).
//!
//! On a host that was set up by packages systemd runs the parts, and the same commands read `/etc/ringdown` ([`appliance`]).

mod api;
mod appliance;
mod arguments;
mod asked;
mod doctor;
mod down;
mod explain;
mod health;
mod host;
mod installation;
mod operator;
mod output;
mod packages;
mod sim;
mod sip;
mod status;
mod supervise;
mod support;
mod up;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use appliance::Appliance;
use arguments::{Arguments, Command, Place};
use installation::Installation;

/// Parses the arguments and runs the command.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    // One thread: children are told to die with the thread that started them (see `supervise`).
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&anyhow::Error::from(error)),
    };
    match runtime.block_on(perform(arguments)) {
        Ok(code) => code,
        Err(error) => output::fail(&error),
    }
}

fn announce(place: &Place) -> anyhow::Result<ExitCode> {
    match Appliance::find(place)? {
        Some(appliance) => operator::announce_appliance(&appliance)?,
        None => operator::announce(&Installation::open(place)?, operator::Reader::Person)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn enrol(place: &Place) -> anyhow::Result<ExitCode> {
    let appliance =
        Appliance::find(place)?.context("this host was not set up by packages: `ringdown up` enrols by itself")?;
    operator::enrol(&appliance).await?;
    Ok(ExitCode::SUCCESS)
}

async fn perform(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let place = arguments.place;
    match arguments.command {
        Command::Up(up) => up::run(&place, &up).await,
        Command::Down(down) => down::run(&place, &down).await,
        Command::Announce => announce(&place),
        Command::Enrol => enrol(&place).await,
        Command::Status(status) => status::run(&place, &status).await,
        Command::Doctor(doctor) => doctor::run(&place, &doctor).await,
        Command::SupportBundle(bundle) => support::run(&place, &bundle).await,
        Command::Sim(sim) => sim::run(&place, sim).await,
        Command::Explain(explain) => explain::run(&place, &explain).await,
        Command::Host(host) => host::run(&place, host).await,
        Command::Sip(sip) => sip::run(&place, sip).await,
    }
}
