//! The notifier: browsers ask once, by WebSocket, and are told everything that happens in their tenant's ACD.
//!
//! ```text
//! {tenant}:journal --XREAD--> Feed (one per tenant somebody watches: ring, queue figures) --watch--> Connection --> browser
//!                                                                     behind the ring: XRANGE --------^
//! ```
//!
//! | part | for |
//! |---|---|
//! | [`Config`] | the environment |
//! | `feed` | follows one tenant's journal for all its connections |
//! | `journal` | what is read from Redis: pages, positions, snapshots |
//! | `connection` | one browser: opens, catches up, is told, is sent away |
//! | `server` | routes and limits |
//!
//! It writes nothing to Redis, holds no data per connection but a position, and decides nothing that
//! `ringdown_notifier_core` does not decide.

mod config;
mod connection;
mod cookie;
mod feed;
mod journal;
mod lobby;
mod metrics;
mod seats;
mod server;

pub use config::{Config, Limits};
pub use server::{Bound, bind, start};
