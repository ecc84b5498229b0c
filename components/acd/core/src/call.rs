//! The life of one inbound call on a media node, decided without I/O.
//!
//! ```text
//!            CreateInteraction            Offer             ringing           answered: AcceptOffer      Connect
//! Arrived ----> Waiting (music) ----> leg Dialing ----> leg Ringing ----> leg Answered ----> Talking (joined)
//!                 ^   |                    |                 |                 |                |
//!                 |   |  Withdraw, leg gone: FailOffer (once per offer)        |                | either leg gone:
//!                 '---|--------------------'-----------------'-----------------'                | EndInteraction
//!                     | caller gone: EndInteraction                                             v
//!                     '--------------------------------------------------------------------> Ended: legs hung up,
//!                                                                                             bridges deleted
//! ```
//!
//! Events come in any order and may be missing; orders carry ids of ours and may be repeated. What ends without a word is
//! found by [`Input::Listed`]: nothing is trusted to one event. A caller is answered once the router has confirmed the
//! interaction, so that one it refuses hears a SIP error and its carrier may go another way; a router that is away keeps no
//! caller waiting for that longer than [`ANSWER_ANYWAY_MS`]. The router decides who gets the call; this machine never
//! picks an agent, and it never joins two legs before the router's commit says so.

mod machine;
mod outcome;

pub use machine::{
    ANSWER_ANYWAY_MS, CONGESTION, Call, End, FoundCall, Input, Leg, LegStage, Listed, NORMAL_CLEARING, Order,
    UNRUNG_MARGIN_MS,
};
pub use outcome::{LegEnd, judge};

#[cfg(test)]
mod tests;
