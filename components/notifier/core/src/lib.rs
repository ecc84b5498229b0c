//! What a browser has missed, decided without I/O: topics and who may see what, stream positions and resuming, the
//! bounded memory of recent entries, the figures of queues, and when a reader is too slow.
//!
//! ```text
//! journal --> Ring (recent entries, one per tenant) --> cursor of each connection --> Audience (topics, scope) --> browser
//!         '-> QueueBoard (figures by queue)         '-> Lag (too far behind: told so, sent away, may come back)
//! ```
//!
//! It never reads a clock or a socket, and it never holds anything per connection but a cursor: a slow reader costs the
//! notifier no memory.

mod audience;
mod board;
mod close;
mod position;
mod ring;

pub use audience::Audience;
pub use board::QueueBoard;
pub use close::CloseCode;
pub use position::{Resume, resume};
pub use ring::{Read, Ring, RingError};

#[cfg(test)]
mod tests;
