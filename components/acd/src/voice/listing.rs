//! What a listing of Asterisk's channels and bridges says about our calls.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use ringdown_acd_core::call::{Call, Listed};
use ringdown_domain::{InteractionId, OfferId, TimestampMs};

use super::ari::{Ari, AriError, RawBridge, holding_bridge, mixing_bridge, owner_of};
use super::event::{Arguments, Arrival, RawChannel};
use super::recovery::interaction_of;
use super::worker::channel_time;

/// Everything there was at one moment.
pub(crate) struct Listing {
    /// When it was asked for: what we learned later is newer.
    pub(crate) taken: Instant,
    pub(crate) channels: Vec<RawChannel>,
    pub(crate) bridges: Vec<RawBridge>,
}

impl Listing {
    /// Asks Asterisk.
    pub(crate) async fn take(ari: &Ari) -> Result<Self, AriError> {
        let taken = Instant::now();
        let (channels, bridges) = tokio::try_join!(ari.channels(), ari.bridges())?;
        Ok(Self { taken, channels, bridges })
    }
}

/// What a listing shows of one call.
pub(crate) fn look(call: &Call, channels: &HashSet<&str>, bridges: &HashMap<&str, &[String]>) -> Listed {
    let inside = |bridge: String, channel: &str| {
        bridges.get(bridge.as_str()).is_some_and(|members| members.iter().any(|member| member == channel))
    };
    let id = call.interaction;
    let leg = call.leg().map(|leg| leg.channel.as_str());
    let caller_joined = inside(mixing_bridge(id), &call.caller);
    Listed {
        caller: channels.contains(call.caller.as_str()),
        leg: leg.is_some_and(|leg| channels.contains(leg)),
        caller_mixed: caller_joined,
        caller_bridged: caller_joined || inside(holding_bridge(id), &call.caller),
        joined: caller_joined && leg.is_some_and(|leg| inside(mixing_bridge(id), leg)),
    }
}

/// A caller whom nobody knows, with all that the node shows of the call.
#[derive(Debug)]
pub(crate) struct FoundCaller {
    pub(crate) channel: String,
    pub(crate) arrival: Arrival,
    pub(crate) interaction: InteractionId,
    /// Answered.
    pub(crate) is_up: bool,
    /// In the mixing bridge.
    pub(crate) is_mixed: bool,
    pub(crate) legs: Vec<FoundLeg>,
}

/// A leg of such a call.
#[derive(Debug)]
pub(crate) struct FoundLeg {
    pub(crate) id: String,
    /// The number in its id.
    pub(crate) number: u32,
    /// It rings, or was answered.
    pub(crate) rings: bool,
    /// For which offer it was answered; none: not yet.
    answered_for: Option<OfferId>,
}

impl FoundCaller {
    /// Looks for a caller in a listing; none when it is none, or not there.
    pub(crate) fn in_listing(listing: &Listing, channel: &str, now: TimestampMs) -> Option<Self> {
        let raw = listing.channels.iter().find(|raw| raw.id == channel)?;
        let arrival = inbound(raw)?;
        let interaction = interaction_of(channel, channel_time(channel).unwrap_or(now));
        let mixing = mixing_bridge(interaction);
        let members = listing.bridges.iter().find(|bridge| bridge.id == mixing).map(|bridge| &bridge.channels);
        let legs =
            listing.channels.iter().filter(|raw| owner_of(&raw.id) == Some(interaction)).filter_map(FoundLeg::of);
        Some(Self {
            channel: channel.to_owned(),
            arrival,
            interaction,
            is_up: raw.state == "Up",
            is_mixed: members.is_some_and(|members| members.iter().any(|member| member == channel)),
            legs: legs.collect(),
        })
    }

    /// The leg of the current offer: the one that was answered for it, or the last one dialled, if nobody answered it yet.
    pub(crate) fn leg_of(&self, offer: OfferId) -> Option<&FoundLeg> {
        let answered = self.legs.iter().find(|leg| leg.answered_for == Some(offer));
        let last = || self.legs.iter().max_by_key(|leg| leg.number).filter(|leg| leg.answered_for.is_none());
        answered.or_else(last)
    }

    /// Whether this leg was answered.
    pub(crate) fn is_leg_up(&self, channel: &str) -> bool {
        self.legs.iter().any(|leg| leg.id == channel && leg.answered_for.is_some())
    }
}

impl FoundLeg {
    fn of(raw: &RawChannel) -> Option<Self> {
        let number = raw.id.rsplit("-a").next()?.parse().ok()?;
        let answered_for = match arguments(raw) {
            Some(Arguments::Leg { offer, .. }) => Some(offer),
            Some(Arguments::Inbound { .. }) | None => None,
        };
        let rings = raw.state == "Ringing" || answered_for.is_some();
        Some(Self { id: raw.id.clone(), number, rings, answered_for })
    }
}

/// What a channel in our application was given as arguments.
fn arguments(channel: &RawChannel) -> Option<Arguments> {
    if channel.dialplan.app_name != "Stasis" {
        return None;
    }
    let mut parts = channel.dialplan.app_data.split(',');
    if parts.next() != Some("acd") {
        return None;
    }
    Arguments::parse(parts)
}

/// What a listed channel that came in over a trunk said when it came.
pub(crate) fn inbound(channel: &RawChannel) -> Option<Arrival> {
    match arguments(channel)? {
        Arguments::Inbound { trunk, dialled } => {
            Some(Arrival { trunk, dialled, caller: channel.caller.number.clone() })
        }
        Arguments::Leg { .. } => None,
    }
}
