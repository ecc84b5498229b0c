//! What listings of Asterisk's channels and bridges change: lost events are caught up with, strangers met, what nobody
//! claims is ended.

use ringdown_acd_core::conversation::{CustomerStage, Input, LegStage, Listed};
use ringdown_acd_core::node::{ListedChannel, ListedNode, Owner, StrangerOrder};
use ringdown_domain::{EndReason, InteractionId, TimestampMs};
use ringdown_events::Command;

use super::arrivals::UNALLOCATED;
use super::errands::send;
use super::{CatchUp, Node, Report};
use crate::voice::ari::{is_serving, owner_of};
use crate::voice::event::RawChannel;
use crate::voice::listing::{Listing, Seen, inbound};
use crate::voice::recovery::interaction_of;
use crate::voice::worker::channel_time;

impl Node {
    pub(super) fn start_listing(&mut self) {
        // What Asterisk queued while we were away comes first: it knows when things happened, a listing only that they did.
        let early = matches!(self.catch_up, CatchUp::Queue(_));
        if self.listing || early || self.connected.is_none() {
            return;
        }
        self.listing = true;
        let (ari, reports) = (self.shared.ari.clone(), self.reports.0.clone());
        self.shared.life.spawn_finite("voice listing", async move {
            let listing = Listing::take(&ari).await;
            send(&reports, Report::Listing(listing)).await;
        });
    }

    pub(super) fn listed(&mut self, listing: Listing) {
        // The first listing after a connection: what it shows was there before, and its events are not to come.
        let first = match self.catch_up {
            CatchUp::Queue(_) => return,
            CatchUp::Listing(since) if listing.taken < since => return self.start_listing(),
            CatchUp::Listing(_) => true,
            CatchUp::Done => false,
        };
        self.catch_up = CatchUp::Done;
        for channel in &listing.channels {
            self.catch_up_leg(channel);
        }
        let age = u64::try_from(listing.taken.elapsed().as_millis()).unwrap_or(u64::MAX);
        let taken_at_ms = TimestampMs(self.shared.life.clock().now().0.saturating_sub(age));
        let seen = Seen::new(&listing, taken_at_ms);
        let known = self.calls.iter().filter(|(_, live)| live.known_since < listing.taken);
        let inputs: Vec<(InteractionId, Listed)> = known.map(|(id, live)| (*id, seen.of(&live.call))).collect();
        for (id, listed) in inputs {
            self.apply(id, Input::Listed(listed));
        }
        self.meet_strangers(&listing, first);
    }

    /// A leg is further than we heard: its event was lost.
    fn catch_up_leg(&mut self, channel: &RawChannel) {
        let Some(id) = owner_of(&channel.id) else { return };
        let Some(live) = self.calls.get(&id) else { return };
        let stage = live.call.leg(&channel.id).map(|leg| leg.stage);
        let customer = live.call.customer().filter(|customer| customer.channel == channel.id);
        let (dials, rings) = match (stage, customer.map(|customer| customer.stage)) {
            (Some(LegStage::Dialling), _) | (None, Some(CustomerStage::Dialling)) => (true, false),
            (Some(LegStage::Ringing), _) | (None, Some(CustomerStage::Ringing)) => (false, true),
            _ => return,
        };
        let in_stasis = channel.state == "Up" && channel.dialplan.app_name == "Stasis";
        if dials && (channel.state == "Ringing" || in_stasis) {
            self.apply(id, Input::Ringing { channel: channel.id.clone() });
        }
        if (dials || rings) && in_stasis {
            self.apply(id, Input::Answered { channel: channel.id.clone() });
        }
    }

    /// Channels and bridges of ours that no call knows: the core says what becomes of them.
    fn meet_strangers(&mut self, listing: &Listing, first: bool) {
        let orders = self.strangers.listed(&ListedNode {
            channels: listing.channels.iter().map(|channel| self.introduce(channel)).collect(),
            bridges: listing.bridges.iter().filter_map(|bridge| self.introduce_bridge(&bridge.id)).collect(),
            is_first: first,
            is_partly_blind: self.configs.is_partly_blind(),
        });
        let (mut legs, mut bridges, mut refused, mut ended) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for order in orders {
            match order {
                StrangerOrder::Adopt(channel) => self.place(listing, &channel),
                StrangerOrder::Refuse(channel) => refused.push((channel, UNALLOCATED)),
                StrangerOrder::HangUpLeg(channel) => legs.push(channel),
                StrangerOrder::RemoveBridge(bridge) => bridges.push(bridge),
                StrangerOrder::EndInteraction(interaction) => {
                    let Some(tenant) = self.expected.remove(&interaction) else { continue };
                    log::warn!(interaction:% = interaction; "an interaction without a channel is ended");
                    let reason = EndReason::NodeLost;
                    ended.push((tenant, Command::EndInteraction { interaction, reason, at_ms: None }));
                }
            }
        }
        self.hang_up_strangers(legs);
        self.hang_up(refused);
        self.remove_bridges(bridges);
        if !ended.is_empty() {
            self.command(ended);
        }
    }

    fn introduce<'a>(&self, channel: &'a RawChannel) -> ListedChannel<'a> {
        let id = channel.id.as_str();
        if let Some(interaction) = owner_of(id) {
            // One whose caller is being placed waits for that.
            let is_awaited = self.placing.contains_key(&interaction);
            let known = |live: &super::Live| live.call.knows(id) || is_serving(id);
            let is_known = is_awaited || self.calls.get(&interaction).is_some_and(known);
            return ListedChannel { id, owner: Owner::Leg(interaction), is_known };
        }
        let owner = inbound(channel).map_or(Owner::Other, |arrival| {
            let arrived = channel_time(id).unwrap_or_else(|| self.shared.life.clock().now());
            let interaction = interaction_of(id, arrived);
            let is_placed = self.configs.of_trunk(arrival.trunk).is_some() || self.strangers.is_expected(interaction);
            Owner::Caller { interaction, is_placed }
        });
        let is_being_placed = match owner {
            Owner::Caller { interaction, .. } => self.placing.contains_key(&interaction),
            Owner::Leg(_) | Owner::Other => false,
        };
        ListedChannel { id, owner, is_known: self.by_caller.contains_key(id) || is_being_placed }
    }

    fn introduce_bridge<'a>(&self, id: &'a str) -> Option<(&'a str, InteractionId, bool)> {
        let interaction = owner_of(id)?;
        let is_known = self.calls.contains_key(&interaction) || self.placing.contains_key(&interaction);
        Some((id, interaction, is_known))
    }
}
