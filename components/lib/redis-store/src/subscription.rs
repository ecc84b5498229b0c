//! Messages of channels, until the connection ends.

use std::fmt;

use futures_util::StreamExt;
use redis::aio::PubSub;
use redis::{ConnectionAddr, Msg};

use crate::place::Place;

/// A subscription with a connection of its own. What is published while nobody listens is gone: whoever subscribes anew
/// looks at everything.
pub struct Subscription {
    messages: PubSub,
    place: Place,
    address: ConnectionAddr,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Subscription {
    pub(crate) const fn new(messages: PubSub, place: Place, address: ConnectionAddr) -> Self {
        Self { messages, place, address }
    }

    /// The next message; `None` when the connection has ended, or Redis is elsewhere now. Dropping it half-way loses nothing.
    pub async fn next(&mut self) -> Option<Msg> {
        let mut messages = self.messages.on_message();
        tokio::select! {
            message = messages.next() => message,
            () = self.place.left(&self.address) => None,
        }
    }
}
