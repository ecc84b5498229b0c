//! Hosts to try the appliance on: real systemd machines that boot, are cut from power and network, and boot again.
//!
//! [`fleet`] makes them; [`bundle`] is what they are installed from, [`packages`] what it holds of ours, [`containers`]
//! where images run, [`machine`] has a kernel of its own, [`chance`] is what is drawn by a seed; the tests in `tests/` say what a
//! contact centre made of them must do.

pub mod bundle;
pub mod chance;
pub mod containers;
pub mod fleet;
pub mod machine;
pub mod packages;
