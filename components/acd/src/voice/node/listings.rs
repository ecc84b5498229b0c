//! What listings of Asterisk's channels and bridges change: lost events are caught up with, strangers met, what nobody
//! claims is ended.

use std::collections::{HashMap, HashSet};

use ringdown_acd_core::call::{Input, LegStage, Listed, NORMAL_CLEARING};
use ringdown_domain::{EndReason, InteractionId};
use ringdown_events::Command;

use super::super::ari::owner_of;
use super::super::event::RawChannel;
use super::super::listing::{Listing, inbound, look};
use super::{CatchUp, Node, Report, UNCLAIMED_LISTINGS, send};

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

    pub(super) async fn listed(&mut self, listing: Listing) {
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
        let channels: HashSet<&str> = listing.channels.iter().map(|channel| channel.id.as_str()).collect();
        let bridges: HashMap<&str, &[String]> =
            listing.bridges.iter().map(|bridge| (bridge.id.as_str(), bridge.channels.as_slice())).collect();
        let known = self.calls.iter().filter(|(_, live)| live.known_since < listing.taken);
        let inputs: Vec<(InteractionId, Listed)> =
            known.map(|(id, live)| (*id, look(&live.call, &channels, &bridges))).collect();
        for (id, listed) in inputs {
            self.apply(id, Input::Listed(listed));
        }
        self.meet_strangers(&listing, first).await;
        self.end_unclaimed().await;
    }

    /// A leg is further than we heard: its event was lost.
    fn catch_up_leg(&mut self, channel: &RawChannel) {
        let Some(id) = owner_of(&channel.id) else { return };
        let stage = self.calls.get(&id).and_then(|live| live.call.leg()).filter(|leg| leg.channel == channel.id);
        let Some(stage) = stage.map(|leg| leg.stage) else { return };
        let in_stasis = channel.state == "Up" && channel.dialplan.app_name == "Stasis";
        if stage == LegStage::Dialling && (channel.state == "Ringing" || in_stasis) {
            self.apply(id, Input::LegRinging { channel: channel.id.clone() });
        }
        if matches!(stage, LegStage::Dialling | LegStage::Ringing) && in_stasis {
            self.apply(id, Input::LegAnswered { channel: channel.id.clone() });
        }
    }

    /// Channels and bridges of ours that no call knows, twice in a row: callers are adopted, the rest is cleared away. The
    /// first listing of a connection needs no second: no event about what it shows is on its way.
    async fn meet_strangers(&mut self, listing: &Listing, first: bool) {
        let mut strangers = HashSet::new();
        for channel in &listing.channels {
            if self.knows(&channel.id) {
                continue;
            }
            let twice = self.strangers.contains(&channel.id);
            if let Some(arrival) = inbound(channel) {
                if twice || first {
                    log::warn!(channel = channel.id.as_str(); "a caller nobody knew is taken in");
                    self.caller_arrived(channel.id.clone(), self.shared.life.clock().now(), arrival).await;
                }
            } else if owner_of(&channel.id).is_some() {
                if twice {
                    self.hang_up_stranger(&channel.id).await;
                }
            } else {
                continue;
            }
            strangers.insert(channel.id.clone());
        }
        for bridge in &listing.bridges {
            let ours = owner_of(&bridge.id).is_some_and(|id| !self.calls.contains_key(&id));
            if !ours {
                continue;
            }
            if self.strangers.contains(&bridge.id)
                && let Err(error) = self.shared.ari.remove_bridge(&bridge.id).await
            {
                log::warn!(bridge = bridge.id.as_str(), error:% = error; "a bridge of no call stays");
            }
            strangers.insert(bridge.id.clone());
        }
        self.strangers = strangers;
    }

    fn knows(&self, channel: &str) -> bool {
        let as_leg = owner_of(channel).and_then(|id| self.calls.get(&id)).and_then(|live| live.call.leg());
        self.by_caller.contains_key(channel) || as_leg.is_some_and(|leg| leg.channel == channel)
    }

    pub(super) async fn hang_up_stranger(&self, channel: &str) {
        self.shared.metrics.orphans.inc();
        log::warn!(channel; "a channel of ours that no call knows is hung up");
        if let Err(error) = self.shared.ari.hang_up(channel, NORMAL_CLEARING).await {
            log::warn!(channel, error:% = error; "it was not hung up");
        }
    }

    /// Interactions on this node without call and channel end: nobody will ever speak for them.
    async fn end_unclaimed(&mut self) {
        let calls = &self.calls;
        self.unclaimed.retain(|id, _| !calls.contains_key(id));
        let mut over = Vec::new();
        for (id, (tenant, listings)) in &mut self.unclaimed {
            *listings += 1;
            if *listings >= UNCLAIMED_LISTINGS {
                over.push((*id, *tenant));
            }
        }
        for (interaction, tenant) in over {
            self.unclaimed.remove(&interaction);
            log::warn!(interaction:% = interaction; "an interaction without a channel is ended");
            self.append(tenant, Command::EndInteraction { interaction, reason: EndReason::NodeLost, at_ms: None })
                .await;
        }
    }
}
