//! Who sits where: the wanted topology as a function of the state, and the orders that lead to it.

use std::collections::{BTreeMap, BTreeSet};

use ringdown_domain::{PartyRole, TimestampMs};
use ringdown_events::WantedCustomer;
use serde::{Deserialize, Serialize};

use super::machine::Order;
use super::record::{Conversation, CustomerStage, Leg, LegStage};

/// A room of a conversation, in which everybody hears everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Room {
    /// Where the agent asks somebody, apart from the customer.
    Consult,
    /// Where the customer and the agents talk.
    Main,
    /// Where the customer waits with music.
    Waiting,
}

/// A place of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seat {
    /// In a room.
    Room(Room),
    /// Hears everything that another channel says and hears.
    Spy {
        /// That channel.
        on: String,
        /// It is heard by that channel's party, too.
        whispers: bool,
    },
}

/// A place of a channel as a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeenSeat {
    /// In a room.
    Room(Room),
    /// In a spy's bridge, with the spying channel, which whispers or not.
    Spy {
        /// Whether it whispers.
        whispers: bool,
    },
}

impl Seat {
    pub(super) fn is_as_seen(&self, seen: SeenSeat) -> bool {
        match (self, seen) {
            (Self::Room(room), SeenSeat::Room(other)) => *room == other,
            // A spying channel ends with the one it spies on, so one that is there is on the right one.
            (Self::Spy { whispers, .. }, SeenSeat::Spy { whispers: other }) => *whispers == other,
            (Self::Room(_), SeenSeat::Spy { .. }) | (Self::Spy { .. }, SeenSeat::Room(_)) => false,
        }
    }
}

impl Conversation {
    /// The agent to whom the conversation belongs: the leg without a role.
    pub(super) fn main_leg(&self) -> Option<&Leg> {
        self.legs.iter().find(|leg| {
            leg.stage == LegStage::Answered
                && self
                    .wanted_leg(leg.leg)
                    .is_some_and(|wanted| wanted.role.is_none() && wanted.ring_until_ms.is_none())
        })
    }

    /// The place of every channel that has one, from the state alone.
    #[must_use]
    pub fn wanted_seats(&self) -> BTreeMap<String, Seat> {
        let mut seats = BTreeMap::new();
        if self.over {
            return seats;
        }
        if let Some(seat) = self.customer_seat()
            && let Some(customer) = &self.customer
        {
            seats.insert(customer.channel.clone(), seat);
        }
        for leg in self.legs.iter().filter(|leg| leg.stage == LegStage::Answered) {
            if let Some(seat) = self.leg_seat(leg) {
                seats.insert(leg.channel.clone(), seat);
            }
        }
        seats
    }

    fn customer_seat(&self) -> Option<Seat> {
        let customer = self.customer.as_ref().filter(|customer| customer.stage == CustomerStage::Here)?;
        match self.wanted_customer() {
            // The router has not heard yet that the customer answered; the agent waits for just that.
            WantedCustomer::Dialled { .. } | WantedCustomer::Joined => Some(Seat::Room(Room::Main)),
            WantedCustomer::Held | WantedCustomer::Waiting => Some(Seat::Room(Room::Waiting)),
            // Called by us, and the agent who called is gone for a moment: stays where it is.
            WantedCustomer::Nobody => self.seats.get(&customer.channel).cloned(),
            WantedCustomer::Gone { .. } => None,
        }
    }

    fn leg_seat(&self, leg: &Leg) -> Option<Seat> {
        let wanted = self.wanted_leg(leg.leg).filter(|wanted| wanted.ring_until_ms.is_none())?;
        match wanted.role {
            None if self.is_consulting() => Some(Seat::Room(Room::Consult)),
            None | Some(PartyRole::Conference) => Some(Seat::Room(Room::Main)),
            Some(PartyRole::Consult) => Some(Seat::Room(Room::Consult)),
            Some(role @ (PartyRole::Listen | PartyRole::Whisper)) => {
                let on = self.main_leg()?.channel.clone();
                Some(Seat::Spy { on, whispers: role == PartyRole::Whisper })
            }
        }
    }

    /// Whether the agent is with somebody who is asked, or waits for one who is being called.
    fn is_consulting(&self) -> bool {
        self.wanted.as_ref().is_some_and(|wanted| wanted.legs.iter().any(|leg| leg.role == Some(PartyRole::Consult)))
    }

    /// The rooms in which somebody waits for one who is being called.
    fn wanted_ringback(&self) -> BTreeSet<Room> {
        let mut rooms = BTreeSet::new();
        if self.over || self.main_leg().is_none() {
            return rooms;
        }
        let rings = |customer: &super::record::Customer| {
            matches!(customer.stage, CustomerStage::Dialling | CustomerStage::Ringing)
        };
        if self.customer.as_ref().is_some_and(rings) {
            rooms.insert(Room::Main);
        }
        for leg in self.wanted.iter().flat_map(|wanted| &wanted.legs).filter(|leg| leg.ring_until_ms.is_some()) {
            match leg.role {
                Some(PartyRole::Consult) => {
                    rooms.insert(Room::Consult);
                }
                // Somebody is called by an agent who waits alone.
                Some(PartyRole::Conference) if *self.wanted_customer() == WantedCustomer::Nobody => {
                    rooms.insert(Room::Main);
                }
                Some(PartyRole::Conference | PartyRole::Listen | PartyRole::Whisper) | None => {}
            }
        }
        rooms
    }

    /// Gives the orders that lead from the seats that were ordered (or seen) to those that are wanted.
    pub(super) fn arrange(&mut self, now: TimestampMs, orders: &mut Vec<Order>) {
        if self.over {
            return;
        }
        let wanted = self.wanted_seats();
        self.leave_spies(&wanted, orders);
        for room in [Room::Waiting, Room::Consult, Room::Main] {
            let seat = Seat::Room(room);
            let moves =
                wanted.iter().filter(|(channel, place)| **place == seat && self.seats.get(*channel) != Some(&seat));
            let channels: Vec<String> = moves.map(|(channel, _)| channel.clone()).collect();
            if channels.is_empty() {
                continue;
            }
            for channel in &channels {
                self.seats.insert(channel.clone(), seat.clone());
            }
            self.seated_at_ms = now;
            orders.push(Order::Seat { room, channels });
        }
        self.take_spies(now, &wanted, orders);
        self.seats.retain(|channel, _| wanted.contains_key(channel));
        self.arrange_ringback(orders);
        self.arrange_mutes(orders);
        self.arrange_tracks(now, orders);
    }

    fn leave_spies(&self, wanted: &BTreeMap<String, Seat>, orders: &mut Vec<Order>) {
        for leg in &self.legs {
            let was_spying = matches!(self.seats.get(&leg.channel), Some(Seat::Spy { .. }));
            if was_spying && !matches!(wanted.get(&leg.channel), Some(Seat::Spy { .. })) {
                orders.push(Order::EndSpying { number: leg.number });
            }
        }
    }

    fn take_spies(&mut self, now: TimestampMs, wanted: &BTreeMap<String, Seat>, orders: &mut Vec<Order>) {
        for leg in &self.legs {
            let Some(seat @ Seat::Spy { on, whispers }) = wanted.get(&leg.channel) else { continue };
            if self.seats.get(&leg.channel) == Some(seat) {
                continue;
            }
            self.seats.insert(leg.channel.clone(), seat.clone());
            self.seated_at_ms = now;
            orders.push(Order::Spy {
                channel: leg.channel.clone(),
                number: leg.number,
                on: on.clone(),
                whispers: *whispers,
            });
        }
    }

    fn arrange_ringback(&mut self, orders: &mut Vec<Order>) {
        let wanted = self.wanted_ringback();
        for room in self.ringback.symmetric_difference(&wanted) {
            orders.push(Order::Ringback { room: *room, on: wanted.contains(room) });
        }
        self.ringback = wanted;
    }

    fn arrange_mutes(&mut self, orders: &mut Vec<Order>) {
        let answered = self.legs.iter().filter(|leg| leg.stage == LegStage::Answered);
        let mute = answered.filter(|leg| self.wanted_leg(leg.leg).is_some_and(|wanted| wanted.muted));
        let wanted: BTreeSet<String> = mute.map(|leg| leg.channel.clone()).collect();
        for channel in self.muted.symmetric_difference(&wanted) {
            if self.leg(channel).is_some() {
                orders.push(Order::Mute { channel: channel.clone(), muted: wanted.contains(channel) });
            }
        }
        self.muted = wanted;
    }

    /// Takes what a listing shows for where everybody is: whatever is not as ordered is ordered again.
    pub(super) fn believe(&mut self, seen: &BTreeMap<String, SeenSeat>) {
        self.seats.retain(|channel, seat| seen.get(channel).is_some_and(|other| seat.is_as_seen(*other)));
    }
}
