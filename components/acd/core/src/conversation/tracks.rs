//! What is recorded: each party on a channel of its own, so that who spoke is never a guess, and what one party says can be
//! left out.

use ringdown_domain::{PartyRole, Recording, TimestampMs};
use ringdown_events::{RecordedParty, WantedCustomer};
use serde::{Deserialize, Serialize};

use super::machine::Order;
use super::record::{Conversation, CustomerStage, LegStage};

/// One party's recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// The channel that is recorded.
    pub on: String,
    /// Its number in the conversation.
    pub number: u32,
    /// Whose it is.
    pub party: RecordedParty,
    /// When it began.
    pub begun_at_ms: TimestampMs,
    /// Nothing is written now.
    pub paused: bool,
}

impl Conversation {
    /// The channels that are to be recorded now, the customer's first.
    fn recorded_channels(&self) -> Vec<(String, RecordedParty)> {
        let recording = self.wanted.as_ref().map_or(Recording::Off, |wanted| wanted.recording);
        if recording == Recording::Off || self.over || self.main_leg().is_none() {
            return Vec::new();
        }
        let is_there = !matches!(self.wanted_customer(), WantedCustomer::Gone { .. });
        let customer = self.customer.as_ref().filter(|it| it.stage == CustomerStage::Here && is_there);
        let mut channels: Vec<(String, RecordedParty)> =
            customer.map(|it| (it.channel.clone(), RecordedParty::Customer)).into_iter().collect();
        for leg in self.legs.iter().filter(|leg| leg.stage == LegStage::Answered) {
            let wanted = self.wanted_leg(leg.leg).filter(|wanted| wanted.ring_until_ms.is_none());
            if wanted.is_some_and(|wanted| matches!(wanted.role, None | Some(PartyRole::Conference))) {
                let party = leg.agent.map_or(RecordedParty::Number, RecordedParty::Agent);
                channels.push((leg.channel.clone(), party));
            }
        }
        channels
    }

    /// Begins, pauses and ends tracks.
    pub(super) fn arrange_tracks(&mut self, now: TimestampMs, orders: &mut Vec<Order>) {
        let wanted = self.recorded_channels();
        let paused = self.wanted.as_ref().is_some_and(|wanted| wanted.recording == Recording::Paused);
        let mut kept = Vec::new();
        for mut track in std::mem::take(&mut self.tracks) {
            if !wanted.iter().any(|(channel, _)| *channel == track.on) {
                // One whose channel is gone ended with it.
                if self.knows(&track.on) {
                    orders.push(Order::EndTrack(track));
                }
                continue;
            }
            if track.paused != paused {
                track.paused = paused;
                orders.push(Order::PauseTrack(track.clone()));
            }
            kept.push(track);
        }
        self.tracks = kept;
        for (on, party) in wanted {
            if self.tracks.iter().any(|track| track.on == on) {
                continue;
            }
            self.tracks_made += 1;
            let track = Track { on, number: self.tracks_made, party, begun_at_ms: now, paused: false };
            orders.push(Order::BeginTrack(track.clone()));
            self.tracks.push(track.clone());
            if paused {
                let last = self.tracks.last_mut().expect("just pushed");
                last.paused = true;
                orders.push(Order::PauseTrack(last.clone()));
            }
        }
    }
}
