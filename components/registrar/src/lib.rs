//! The registrar: SIP over UDP, TCP, TLS and WebSockets in, one core that decides, Redis behind it.
//!
//! ```text
//! UDP socket --reader--\                                   /--> UDP sockets, connections
//! connection -----------> inbox -> driver (owns the core) --
//! configuration watch --/    ^                             \--> store workers (one per slice of AORs) -> Redis
//!                            '---- results ----------------------'
//! ```
//!
//! | part | for |
//! |---|---|
//! | [`Config`] | the environment |
//! | `driver` | the one task that owns the core: one input, all its effects, the next input |
//! | `udp`, `sockets`, `streams` | bytes in and out, with bounds |
//! | `certificates` | what TLS shows, read again when it changes |
//! | `slots` | which connections may stay |
//! | `warnings` | what strangers make us log |
//! | `store` | bindings in Redis: one script per REGISTER |
//! | `directory` | realms and credentials from the compiled configuration; bindings at the start |
//! | `short_lived` | what browsers' phones may register with for a while |
//! | `media` | rtpengines and what they are asked |
//! | `others` | bindings that other registrars of the same Redis write |
//! | `trace` | the messages of the last hour, for `ringdown sip trace` |
//! | `metrics` | what is counted |
//!
//! One reader per socket and one owner of the core: what came first is handled and sent first, so responses of a call
//! cannot overtake each other. The driver never waits for anything but its inbox.

mod certificates;
mod config;
mod directory;
mod driver;
mod media;
mod metrics;
mod others;
mod short_lived;
mod slots;
mod sockets;
mod start;
mod store;
mod streams;
mod trace;
mod udp;
mod warnings;

pub use certificates::CertificateFiles;
pub use config::Config;
pub use media::MediaPlace;
pub use start::start;
