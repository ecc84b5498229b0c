//! `ringdown sim`: load against a real installation, with a table at the end. Nothing is mocked: interactions and calls go
//! the way customers' go, in a tenant of their own.

mod calls;
mod chance;
mod figures;
mod interactions;
mod media;
mod registration;
mod sipp;
mod tally;
mod tenant;

use std::process::ExitCode;

use crate::arguments::{Place, Sim, SimCommand};

pub(crate) async fn run(place: &Place, sim: Sim) -> anyhow::Result<ExitCode> {
    match sim.what {
        SimCommand::Interactions(options) => interactions::run(place, &options).await,
        SimCommand::Calls(options) => calls::run(place, &options).await,
    }
}
