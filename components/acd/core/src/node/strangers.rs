//! What becomes of channels and bridges of ours that no call knows.
//!
//! A listing is a moment old when it is read, so what looks strange once may only be new: a stranger is dealt with when two
//! listings in a row show it, or the first one after a connection, behind which no event is on its way.

use std::collections::{BTreeMap, BTreeSet};

use ringdown_domain::InteractionId;

/// Listings in which an interaction without a channel must be missing before it is ended: about six seconds.
pub const UNCLAIMED_LISTINGS: u32 = 3;

/// Whose a listed channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A caller's: the interaction that is made from this channel, and whether its tenant is known.
    Caller {
        /// The interaction.
        interaction: InteractionId,
        /// Its trunk is in a configuration, or its interaction in a tenant's state. A caller of nobody is refused only when
        /// every configuration could be read.
        is_placed: bool,
    },
    /// A leg of ours.
    Leg(InteractionId),
    /// Neither: not in our application yet, or not any more.
    Other,
}

/// A channel as a listing shows it.
#[derive(Clone, Copy, Debug)]
pub struct ListedChannel<'a> {
    /// Its id.
    pub id: &'a str,
    /// Whose it is.
    pub owner: Owner,
    /// A call knows it as its caller or its leg.
    pub is_known: bool,
}

/// A listing, as far as strangers matter.
#[derive(Clone, Debug, Default)]
pub struct ListedNode<'a> {
    /// All channels.
    pub channels: Vec<ListedChannel<'a>>,
    /// The bridges of ours: id, interaction, and whether a call knows that interaction.
    pub bridges: Vec<(&'a str, InteractionId, bool)>,
    /// The first listing after a connection.
    pub is_first: bool,
    /// Some tenant's configuration or state cannot be read, so nobody can say whose a channel is not.
    pub is_partly_blind: bool,
}

/// What to do about a stranger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StrangerOrder {
    /// Take a caller in, by what the interaction's state says.
    Adopt(String),
    /// Refuse a caller whom nobody can place.
    Refuse(String),
    /// Hang up a leg of no call.
    HangUpLeg(String),
    /// Delete a bridge of no call.
    RemoveBridge(String),
    /// End an interaction that has no channel.
    EndInteraction(InteractionId),
}

/// Who was strange in the last listing, and which interactions wait for their channel.
#[derive(Clone, Debug, Default)]
pub struct Strangers {
    seen: BTreeSet<String>,
    /// Interactions on this node that no call speaks for, and the listings without their channel.
    unclaimed: BTreeMap<InteractionId, u32>,
}

impl Strangers {
    /// An interaction is on this node, and no record of its call can be read.
    pub fn expect(&mut self, interaction: InteractionId) {
        self.unclaimed.entry(interaction).or_default();
    }

    /// A call speaks for the interaction.
    pub fn claimed(&mut self, interaction: InteractionId) {
        self.unclaimed.remove(&interaction);
    }

    /// Whether an interaction waits for its channel.
    #[must_use]
    pub fn is_expected(&self, interaction: InteractionId) -> bool {
        self.unclaimed.contains_key(&interaction)
    }

    /// How many interactions wait for their channel.
    #[must_use]
    pub fn expected(&self) -> usize {
        self.unclaimed.len()
    }

    /// Everything on the node is gone.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes a listing; gives what to do.
    pub fn listed(&mut self, listing: &ListedNode<'_>) -> Vec<StrangerOrder> {
        let before = std::mem::take(&mut self.seen);
        let mut orders = Vec::new();
        for channel in listing.channels.iter().filter(|channel| !channel.is_known && channel.owner != Owner::Other) {
            let twice = before.contains(channel.id);
            self.seen.insert(channel.id.to_owned());
            orders.extend(self.meet(channel, listing, twice));
        }
        for (id, interaction, is_known) in &listing.bridges {
            if *is_known || self.is_awaited(*interaction, listing) {
                continue;
            }
            if before.contains(*id) {
                orders.push(StrangerOrder::RemoveBridge((*id).to_owned()));
            }
            self.seen.insert((*id).to_owned());
        }
        self.count_unclaimed(listing, &mut orders);
        orders
    }

    fn meet(&self, channel: &ListedChannel<'_>, listing: &ListedNode<'_>, twice: bool) -> Option<StrangerOrder> {
        let id = channel.id.to_owned();
        match channel.owner {
            Owner::Caller { is_placed: true, .. } => (twice || listing.is_first).then_some(StrangerOrder::Adopt(id)),
            Owner::Caller { is_placed: false, .. } => {
                (twice && !listing.is_partly_blind).then_some(StrangerOrder::Refuse(id))
            }
            Owner::Leg(interaction) => {
                (twice && !self.is_awaited(interaction, listing)).then_some(StrangerOrder::HangUpLeg(id))
            }
            Owner::Other => None,
        }
    }

    /// Whether a leg or bridge may belong to a call that is still to be taken in.
    fn is_awaited(&self, interaction: InteractionId, listing: &ListedNode<'_>) -> bool {
        let caller_is_there = listing.channels.iter().any(|channel| match channel.owner {
            Owner::Caller { interaction: of, .. } => of == interaction && !channel.is_known,
            Owner::Leg(_) | Owner::Other => false,
        });
        listing.is_partly_blind || caller_is_there || self.is_expected(interaction)
    }

    fn count_unclaimed(&mut self, listing: &ListedNode<'_>, orders: &mut Vec<StrangerOrder>) {
        let present: BTreeSet<InteractionId> = listing
            .channels
            .iter()
            .filter_map(|channel| match channel.owner {
                Owner::Caller { interaction, .. } => Some(interaction),
                Owner::Leg(_) | Owner::Other => None,
            })
            .collect();
        let mut over = Vec::new();
        for (interaction, listings) in &mut self.unclaimed {
            *listings = if present.contains(interaction) { 0 } else { *listings + 1 };
            if *listings >= UNCLAIMED_LISTINGS {
                over.push(*interaction);
            }
        }
        for interaction in over {
            self.unclaimed.remove(&interaction);
            orders.push(StrangerOrder::EndInteraction(interaction));
        }
    }
}
