//! What a listing of Asterisk's channels and bridges says about our calls.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use ringdown_acd_core::conversation::{Conversation, Found, FoundLeg, Listed, Room, SeenSeat};
use ringdown_domain::{InteractionId, TimestampMs};

use super::ari::{Ari, AriError, RawBridge, owner_of, room_bridge, spying_channel};
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

/// A listing, by conversation.
pub(crate) struct Seen<'a> {
    channels: BTreeSet<&'a str>,
    /// Channels of ours by the interaction in their names.
    ours: BTreeMap<InteractionId, Vec<&'a str>>,
    /// Bridges of ours likewise: what follows the interaction in the name, and who is in it.
    bridges: BTreeMap<InteractionId, Vec<(&'a str, &'a [String])>>,
    taken_at_ms: TimestampMs,
}

impl<'a> Seen<'a> {
    /// Sorts a listing. `taken_at_ms` is when it was asked for, by the clock of the conversations.
    pub(crate) fn new(listing: &'a Listing, taken_at_ms: TimestampMs) -> Self {
        let mut ours: BTreeMap<InteractionId, Vec<&str>> = BTreeMap::new();
        for channel in &listing.channels {
            if let Some(interaction) = owner_of(&channel.id) {
                ours.entry(interaction).or_default().push(&channel.id);
            }
        }
        let mut bridges: BTreeMap<InteractionId, Vec<(&str, &[String])>> = BTreeMap::new();
        for bridge in &listing.bridges {
            if let Some((interaction, suffix)) = owner_of(&bridge.id).zip(bridge.id.rsplit('-').next()) {
                bridges.entry(interaction).or_default().push((suffix, &bridge.channels));
            }
        }
        let channels = listing.channels.iter().map(|channel| channel.id.as_str()).collect();
        Self { channels, ours, bridges, taken_at_ms }
    }

    /// What it shows of one conversation.
    pub(crate) fn of(&self, call: &Conversation) -> Listed {
        let id = call.interaction;
        let customer = call.customer().map(|customer| customer.channel.as_str());
        let ours = self.ours.get(&id).into_iter().flatten().copied();
        let channels = customer.filter(|channel| self.channels.contains(channel)).into_iter().chain(ours);
        let mut listed = Listed {
            taken_at_ms: self.taken_at_ms,
            channels: channels.map(str::to_owned).collect(),
            seats: BTreeMap::new(),
        };
        for (suffix, members) in self.bridges.get(&id).into_iter().flatten() {
            for member in *members {
                if let Some(seat) = seat(id, suffix, members) {
                    listed.seats.insert(member.clone(), seat);
                }
            }
        }
        listed
    }
}

/// The seat that a bridge means, by what follows the interaction in its name.
fn seat(interaction: InteractionId, suffix: &str, members: &[String]) -> Option<SeenSeat> {
    match suffix {
        "h" => Some(SeenSeat::Room(Room::Waiting)),
        "k" => Some(SeenSeat::Room(Room::Consult)),
        "m" => Some(SeenSeat::Room(Room::Main)),
        _ => {
            let number: u32 = suffix.strip_prefix('l')?.parse().ok()?;
            let has = |whispers| members.contains(&spying_channel(interaction, number, whispers));
            // A bridge that has lost its spying channel is no seat.
            [false, true].into_iter().find(|whispers| has(*whispers)).map(|whispers| SeenSeat::Spy { whispers })
        }
    }
}

/// A caller whom nobody knows, with all that the node shows of the call.
#[derive(Debug)]
pub(crate) struct FoundCaller {
    pub(crate) channel: String,
    pub(crate) arrival: Arrival,
    pub(crate) interaction: InteractionId,
    pub(crate) found: Found,
}

impl FoundCaller {
    /// Looks for a caller in a listing; none when it is none, or not there.
    pub(crate) fn in_listing(listing: &Listing, channel: &str, now: TimestampMs) -> Option<Self> {
        let raw = listing.channels.iter().find(|raw| raw.id == channel)?;
        let arrival = inbound(raw)?;
        let interaction = interaction_of(channel, channel_time(channel).unwrap_or(now));
        let main = room_bridge(interaction, Room::Main);
        let members = listing.bridges.iter().find(|bridge| bridge.id == main).map(|bridge| &bridge.channels);
        let legs = listing.channels.iter().filter(|raw| owner_of(&raw.id) == Some(interaction)).filter_map(found_leg);
        let found = Found {
            is_answered: raw.state == "Up",
            is_joined: members.is_some_and(|members| members.iter().any(|member| member == channel)),
            legs: legs.collect(),
        };
        Some(Self { channel: channel.to_owned(), arrival, interaction, found })
    }
}

fn found_leg(raw: &RawChannel) -> Option<FoundLeg> {
    let number = raw.id.rsplit("-a").next()?.parse().ok()?;
    let answered_for = match arguments(raw) {
        Some(Arguments::Leg { offer, .. }) => Some(offer),
        Some(Arguments::Customer { .. } | Arguments::Inbound { .. }) | None => None,
    };
    let rings = raw.state == "Ringing" || answered_for.is_some();
    Some(FoundLeg { channel: raw.id.clone(), number, rings, answered_for })
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
        Arguments::Customer { .. } | Arguments::Leg { .. } => None,
    }
}
