//! A conversation on a media node: its legs, its rooms, who hears whom. Decided without I/O.
//!
//! ```text
//! the router's word: [`WantedConversation`] --.                 legs by id {party, role, stage}
//! events of channels -------------------------+--> [`Conversation`] --> wanted seats (pure function of the state)
//! answers to orders, listings, time ----------'          |                 wanted - ordered (or seen) = orders
//!                                                        '--> reports to the router: rings, answered, failed, gone
//! ```
//!
//! The router says how a conversation is to look, and says the whole each time, so that a word that was lost is made good by
//! the next. A feature (hold, transfer, consultation, conference, supervision) changes what is wanted; it never gives orders of
//! its own. One function, `arrange`, compares the seats that are wanted with those that were ordered, or, after a listing, with
//! those that are: for normal operation, for repair, and for a conversation taken over from another process.
//!
//! Events come in any order and may be missing; orders carry ids of ours and may be repeated. What ends without a word is
//! found by [`Input::Listed`]: nothing is trusted to one event. A caller is answered once the router has confirmed the
//! interaction, so that one it refuses hears a SIP error and its carrier may go another way; a router that is away keeps no
//! caller waiting for longer than [`ANSWER_ANYWAY_MS`]. This machine never picks an agent, and nobody is joined before the
//! router's commit says so.
//!
//! The parts: `wanted` (from records to what is wanted), `record` (the state, which is the call record), `machine` (inputs),
//! `seats` (who sits where), `tracks` (what is recorded), `outcome` (what the end of a leg means).

mod machine;
mod outcome;
mod record;
mod seats;
mod tracks;
mod wanted;

pub use machine::{Input, Listed, Order};
pub use outcome::{LegEnd, judge};
pub use record::{
    ANSWER_ANYWAY_MS, CONGESTION, Conversation, Customer, CustomerStage, End, Found, FoundLeg, Leg, LegStage,
    NORMAL_CLEARING, UNRUNG_MARGIN_MS,
};
pub use seats::{Room, Seat, SeenSeat};
pub use tracks::Track;
pub use wanted::{is_voice, wanted};

#[cfg(test)]
mod tests;
