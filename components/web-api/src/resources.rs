//! Configuration: what is written to PostgreSQL.

pub mod agents;
pub mod fields;
pub mod outbound_routes;
pub mod queues;
pub mod routes;
pub mod skill_set;
pub mod skills;
pub mod tenants;
pub mod tokens;
pub mod trunks;
pub mod users;
