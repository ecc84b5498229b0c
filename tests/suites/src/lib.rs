//! What suites share: worlds to test in, and the people who live there.

pub mod acd_world;
pub mod asterisk_watch;
pub mod call_centre;
pub mod console;
pub mod installation;
pub mod phone;
pub mod readme;
pub mod sipp;
pub mod slow_link;
pub mod voice;
