//! What the end of an agent's leg means for its offer.
//!
//! Asterisk's `dialstatus` cannot tell (404 and 603 are both NOANSWER); the SIP code (`tech_cause`) can, with one help: a
//! dead phone and a phone nobody answers both end with a 480 of Asterisk's own making, and only whether it rang tells them
//! apart.

use ringdown_domain::OfferFailure;

/// How a leg ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegEnd {
    /// The SIP response code, 300 to 699, if Asterisk knows one.
    pub sip_code: Option<u16>,
    /// Asterisk's hang-up cause (Q.850).
    pub cause: u16,
}

/// Judges a leg that ended before it was joined.
#[must_use]
pub fn judge(end: LegEnd, rang: bool) -> OfferFailure {
    match end.sip_code {
        Some(486 | 600) => OfferFailure::Busy,
        Some(403 | 603) => OfferFailure::Rejected,
        // The phone is there and says so; what it says besides is no refusal by a human.
        Some(480 | 408 | 487) | None if rang => OfferFailure::NoAnswer,
        Some(_) | None => OfferFailure::Unreachable,
    }
}
