//! `appliance-ha`: two of everything; services, hosts and networks fail under load, and nothing is lost.
//!
//! The hosts are those of `cluster`, each made by its first boot from variables only.

#![expect(clippy::print_stdout, reason = "figures are what a suite is run for")]

mod cluster;
mod data;
mod faults;
mod front;
mod fronts;
mod http;
mod ledger;
mod load;
mod people;
mod stores;
mod supervisor;
mod whole;
mod writes;
