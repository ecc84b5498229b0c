//! `appliance-upgrade`: a version is replaced by the next one and comes back, under calls; a broken one comes back by itself;
//! a data volume has one owner; what cannot be is refused.

#![expect(clippy::print_stdout, reason = "figures are what a suite is run for")]

mod host;
mod load;
mod releases;
mod replacement;
mod roots;
mod volume;
