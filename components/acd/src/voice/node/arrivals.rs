//! Callers who arrive, and what happens to channels.

use std::time::Duration;

use ringdown_acd_core::conversation::{CONGESTION, Conversation, Input, LegEnd, NORMAL_CLEARING};
use ringdown_domain::{InteractionId, NumberPlan, TimestampMs};
use ringdown_events::{CompiledConfig, RouteConfig};
use ringdown_service::HeldBack;

use super::Node;
use crate::voice::ari::{is_serving, owner_of};
use crate::voice::event::{Arrival, Event, Happening};
use crate::voice::recovery::interaction_of;
use crate::voice::worker::{CallFacts, channel_time};

/// Q.850 1: unallocated number; the caller hears 404.
pub(super) const UNALLOCATED: u16 = 1;

impl Node {
    pub(super) fn happened(&mut self, event: Event) {
        let now = self.shared.life.clock().now();
        let at_ms = event.at_ms.unwrap_or(now);
        self.shared.metrics.event_lag.observe(Duration::from_millis(now.since_ms(at_ms)).as_secs_f64());
        self.shared.metrics.event(kind(&event.what));
        if let Happening::Arrived(arrival) = event.what {
            self.caller_arrived(event.channel, at_ms, &arrival);
            return;
        }
        if let Some(id) = owner_of(&event.channel) {
            self.leg_event(id, event.channel, at_ms, event.what);
        } else if let Some(id) = self.by_caller.get(&event.channel).copied() {
            match event.what {
                Happening::Gone { .. } | Happening::Left => {
                    self.apply(id, Input::Gone { channel: event.channel, end: LegEnd::default(), at_ms });
                }
                Happening::Arrived(_)
                | Happening::HangupRequested { .. }
                | Happening::Answered
                | Happening::Ringing => {}
            }
        }
    }

    fn leg_event(&mut self, id: InteractionId, channel: String, at_ms: TimestampMs, what: Happening) {
        if is_serving(&channel) {
            // It ends with the channel it serves.
            return;
        }
        if !self.calls.contains_key(&id) {
            // One whose call may still be taken in is met by the listing.
            let may_be_ours = self.strangers.is_expected(id) || self.placing.contains_key(&id);
            if what == Happening::Answered && !may_be_ours && !self.configs.is_partly_blind() {
                self.hang_up_strangers(vec![channel]);
            }
            return;
        }
        match what {
            Happening::Ringing => self.apply(id, Input::Ringing { channel }),
            Happening::Answered => self.apply(id, Input::Answered { channel }),
            Happening::HangupRequested { sip_code } => {
                if let Some(live) = self.calls.get_mut(&id).filter(|_| sip_code.is_some()) {
                    live.sip_code = sip_code;
                }
            }
            Happening::Gone { cause, sip_code } => {
                let named = self.calls.get_mut(&id).and_then(|live| live.sip_code.take());
                let end = LegEnd { sip_code: sip_code.or(named), cause };
                self.apply(id, Input::Gone { channel, end, at_ms });
            }
            Happening::Arrived(_) | Happening::Left => {}
        }
    }

    pub(super) fn hang_up_strangers(&self, channels: Vec<String>) {
        for channel in &channels {
            self.shared.metrics.orphans.inc();
            log::warn!(channel = channel.as_str(); "a channel of ours that no call knows is hung up");
        }
        self.hang_up(channels.into_iter().map(|channel| (channel, NORMAL_CLEARING)).collect());
    }

    /// A caller: whose, and where to?
    pub(super) fn caller_arrived(&mut self, channel: String, at_ms: TimestampMs, arrival: &Arrival) {
        let id = interaction_of(&channel, channel_time(&channel).unwrap_or(at_ms));
        if self.by_caller.contains_key(&channel) || self.placing.contains_key(&id) {
            return;
        }
        let config = self.configs.of_trunk(arrival.trunk).cloned();
        let plan =
            config.as_ref().and_then(|config| config.trunks.get(&arrival.trunk)).map(|trunk| trunk.numbers.clone());
        let plan = plan.unwrap_or_default();
        let route = config.as_ref().and_then(|config| route_of(config, &plan, arrival));
        let (Some(config), Some(route)) = (&config, route) else {
            self.shared.metrics.refused.inc();
            log::info!(trunk:% = arrival.trunk; "a call for a number nobody routes was refused");
            log::debug!(channel, dialled = arrival.dialled.as_str(), known = config.is_some(); "that number");
            // While some configuration cannot be read, nobody can say that the number is wrong.
            let unknown = config.is_none() && self.configs.is_partly_blind();
            return self.hang_up(vec![(channel, if unknown { CONGESTION } else { UNALLOCATED })]);
        };
        if self.shared.life.held() == HeldBack::Calls {
            self.shared.metrics.refused.inc();
            log::info!(trunk:% = arrival.trunk; "a call was refused: this host is drained");
            return self.hang_up(vec![(channel, CONGESTION)]);
        }
        self.shared.metrics.arrived.inc();
        let facts = CallFacts {
            node: self.shared.config.node.clone(),
            queue: Some(route.queue),
            caller_number: plan.caller(&arrival.caller),
            dialled: route.did.parse().ok(),
        };
        let (call, orders) = Conversation::arrived(config.meta.tenant, id, channel, at_ms);
        self.adopt(call, facts, 0);
        self.give(id, orders);
    }
}

/// Where a dialled number leads, however the carrier writes it, and however the route does.
fn route_of<'a>(config: &'a CompiledConfig, plan: &NumberPlan, arrival: &Arrival) -> Option<&'a RouteConfig> {
    let serves = |route: &&RouteConfig| route.trunk.is_none_or(|trunk| trunk == arrival.trunk);
    let readings = plan.readings(&arrival.dialled);
    let found = readings.iter().find_map(|reading| config.routes.get(reading).filter(serves));
    found.or_else(|| {
        let dialled = plan.e164(&arrival.dialled)?;
        config.routes.values().filter(serves).find(|route| plan.e164(&route.did).as_deref() == Some(&*dialled))
    })
}

const fn kind(what: &Happening) -> &'static str {
    match what {
        Happening::Arrived(_) => "arrived",
        Happening::Gone { .. } => "gone",
        Happening::HangupRequested { .. } => "hangup_requested",
        Happening::Left => "left",
        Happening::Answered => "leg_answered",
        Happening::Ringing => "ringing",
    }
}
