//! `appliance-packages`: both kinds of packages, from their building to their removal, and what their units promise.
//!
//! - `build`: the same bytes twice, an old C library, nothing that rpmlint finds.
//! - `deb`: a booted host lives with a signed apt repository.
//! - `rpm`: dnf into a root, rpm into a booted host, with what Enterprise Linux 9 provides and nothing newer.
//! - `lived`: what is asserted of a host, whichever kind its packages are of.
//! - `long`: each package alone, each daemon hung, a power cut amid an upgrade.

#![expect(clippy::print_stdout, reason = "figures are what a suite is run for")]

#[path = "appliance_packages/build.rs"]
mod build;
#[path = "appliance_packages/deb.rs"]
mod deb;
#[path = "appliance_packages/lived.rs"]
mod lived;
#[path = "appliance_packages/long.rs"]
mod long;
#[path = "appliance_packages/rpm.rs"]
mod rpm;
