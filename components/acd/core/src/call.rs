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
//! found by [`Input::Listed`]: nothing is trusted to one event. The router decides who gets the call; this machine never
//! picks an agent, and it never joins two legs before the router's commit says so.

mod machine;
mod outcome;

pub use machine::{Call, DEAD_PHONE_MS, Input, Leg, LegStage, Listed, Order};
pub use outcome::{LegEnd, judge};

#[cfg(test)]
mod tests;
