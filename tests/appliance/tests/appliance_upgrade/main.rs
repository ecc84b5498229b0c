//! `appliance-upgrade`: a version is replaced by the next one and comes back, under calls; a power cut in the middle only
//! delays it; hosts are replaced by other roots, one by one; a data volume has one owner; what cannot be is refused.

#![expect(clippy::print_stdout, reason = "figures are what a suite is run for")]

mod host;
mod load;
mod power_cut;
mod releases;
mod replacement;
mod rolling;
mod roots;
mod silence;
mod volume;
