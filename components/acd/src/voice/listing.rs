//! What a listing of Asterisk's channels and bridges says about our calls.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use ringdown_acd_core::call::{Call, Listed};

use super::ari::{Ari, AriError, RawBridge, holding_bridge, mixing_bridge};
use super::event::{Arguments, Arrival, RawChannel};

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
        caller_bridged: caller_joined || inside(holding_bridge(id), &call.caller),
        joined: caller_joined && leg.is_some_and(|leg| inside(mixing_bridge(id), leg)),
    }
}

/// What a listed channel that came in over a trunk said when it came.
pub(crate) fn inbound(channel: &RawChannel) -> Option<Arrival> {
    if channel.dialplan.app_name != "Stasis" {
        return None;
    }
    let mut parts = channel.dialplan.app_data.split(',');
    if parts.next() != Some("acd") {
        return None;
    }
    match Arguments::parse(parts)? {
        Arguments::Inbound { trunk, dialled } => {
            Some(Arrival { trunk, dialled, caller: channel.caller.number.clone() })
        }
        Arguments::Leg { .. } => None,
    }
}
