//! What is going on now: read from Redis, changed only by commands to the tenant's router.

pub mod acd;
pub mod agents;
pub mod calls;
pub mod commands;
pub mod directory;
pub mod figures;
pub mod interactions;
pub mod phone_credentials;
pub mod provisioning;
pub mod reader;
pub mod views;
pub mod websocket;
