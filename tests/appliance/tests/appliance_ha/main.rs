//! `appliance-ha`: two of everything; services, hosts and networks fail under load, and nothing is lost.
//!
//! The hosts are those of `cluster`, each made by its first boot from variables only. `front` has load balancers and the API alone,
//! `data` the stores alone, `whole` everything, with people on the phone: their calls, and what they were told, are held against
//! what the house says in the end. `doctor` is what an operator is told of them.

#![expect(clippy::print_stdout, reason = "figures are what a suite is run for")]

mod cluster;
mod data;
mod doctor;
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
