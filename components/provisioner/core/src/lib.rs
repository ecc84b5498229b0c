//! What a configuration version is, and what it looks like on an Asterisk host: rows in, a compiled configuration or
//! the list of its contradictions out; settings and trunks in, the texts of files out.
//!
//! | part | for |
//! |---|---|
//! | [`TenantRows`] | a tenant as it stands in PostgreSQL, read in one snapshot |
//! | [`compile`] | rows to [`ringdown_events::CompiledConfig`]: all or nothing |
//! | [`Summary`] | what changed between two versions, for people |
//! | [`asterisk`] | Asterisk's files and music |
//!
//! It never opens a file or a connection, and it never leaves half a configuration: what contradicts itself is named,
//! and the version in force stays.

pub mod asterisk;
mod compile;
mod rows;
mod summary;

pub use compile::{Contradiction, compile};
pub use rows::{AgentRow, AgentSkillRow, OutboundRouteRow, QueueRow, QueueSkillRow, RouteRow, TenantRows, TrunkRow};
pub use summary::Summary;

#[cfg(test)]
mod tests;
