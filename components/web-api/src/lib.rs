//! web-api: the REST interface. It decides who may do what and which input is valid; it writes configuration to PostgreSQL,
//! log-in sessions to Redis and commands to the tenants' routers. It never routes an interaction and never writes live state.
//!
//! | part | for |
//! |---|---|
//! | [`router`] | all routes, limits, the OpenAPI document |
//! | [`auth`] | passwords, tokens, sessions, roles: the gate of every route |
//! | [`resources`] | configuration in PostgreSQL |
//! | [`live`] | live state and commands |
//! | [`recordings`] | recordings in the object store: found, heard, removed |
//! | [`quotas`] | how much one tenant may take |
//! | [`writes`], [`apply`] | a change in one transaction with its Idempotency-Key, and the wait until it runs |

pub mod answers;
pub mod app;
pub mod apply;
pub mod auth;
pub mod config;
pub mod console;
pub mod daemon;
pub mod db;
pub mod init_admin;
pub mod live;
pub mod metrics;
pub mod openapi;
pub mod problem;
pub mod quotas;
pub mod recordings;
pub mod resources;
pub mod router;
pub mod schema;
pub mod schema_tool;
pub mod writes;
