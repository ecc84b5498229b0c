//! The house rules.

mod dependencies;
mod environment;
mod files;
mod manifests;
mod names;
