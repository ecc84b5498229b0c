//! The house rules.

mod appliance;
mod dependencies;
mod environment;
mod files;
mod manifests;
mod names;
