//! Who may keep a stream open: places for connections, in all and per source.
//!
//! A connection whose phone has not proved who it is lives for seconds, and is the first to go when there is no place left:
//! strangers who open thousands keep nobody out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use ringdown_registrar_core::strangers::source_key;
use tokio::sync::watch;

/// What becomes of a connection, told to the task that serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody knows who it is.
    Unproved,
    /// Its phone has proved who it is.
    Proved,
    /// It gives its place to another.
    GivenUp,
}

/// OpenConnections of all listeners. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct Slots(Arc<Mutex<OpenConnections>>);

/// A connection's place; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Slot {
    number: u64,
    slots: Slots,
    standing: watch::Receiver<Standing>,
}

#[derive(Debug)]
struct OpenConnections {
    most: usize,
    most_per_source: usize,
    open: BTreeMap<u64, Connection>,
    /// Connections of each source, and those of them that have proved nothing. Numbers grow: the first is the oldest.
    sources: BTreeMap<[u8; 16], BTreeSet<u64>>,
    unproved: BTreeSet<u64>,
}

#[derive(Debug)]
struct Connection {
    source: [u8; 16],
    standing: watch::Sender<Standing>,
}

impl Slots {
    pub(crate) fn new(most: usize, most_per_source: usize) -> Self {
        Self(Arc::new(Mutex::new(OpenConnections {
            most,
            most_per_source,
            open: BTreeMap::new(),
            sources: BTreeMap::new(),
            unproved: BTreeSet::new(),
        })))
    }

    /// A place for connection `number`, larger than all before; none when all are taken by who has proved itself.
    pub(crate) fn take(&self, number: u64, peer: SocketAddr) -> Option<Slot> {
        let standing = self.places().take(number, peer.ip())?;
        Some(Slot { number, slots: self.clone(), standing })
    }

    /// Its phone has proved who it is.
    pub(crate) fn prove(&self, number: u64) {
        let mut places = self.places();
        places.unproved.remove(&number);
        if let Some(connection) = places.open.get(&number) {
            connection.standing.send_replace(Standing::Proved);
        }
    }

    fn places(&self) -> std::sync::MutexGuard<'_, OpenConnections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    #[cfg(test)]
    fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// When the standing changes.
    pub(crate) async fn changed(&mut self) -> Standing {
        if self.standing.changed().await.is_err() {
            // The sender lives as long as the place.
            return Standing::GivenUp;
        }
        self.standing()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.places().free(self.number);
    }
}

impl OpenConnections {
    fn take(&mut self, number: u64, address: IpAddr) -> Option<watch::Receiver<Standing>> {
        let source = source_key(address);
        if self.sources.get(&source).is_some_and(|open| open.len() >= self.most_per_source) {
            let oldest = self.sources.get(&source)?.intersection(&self.unproved).next().copied()?;
            self.give_up(oldest);
        }
        if self.open.len() >= self.most {
            let oldest = self.unproved.first().copied()?;
            self.give_up(oldest);
        }
        let (sender, standing) = watch::channel(Standing::Unproved);
        self.open.insert(number, Connection { source, standing: sender });
        self.sources.entry(source).or_default().insert(number);
        self.unproved.insert(number);
        Some(standing)
    }

    fn give_up(&mut self, number: u64) {
        if let Some(connection) = self.free(number) {
            connection.standing.send_replace(Standing::GivenUp);
        }
    }

    fn free(&mut self, number: u64) -> Option<Connection> {
        let connection = self.open.remove(&number)?;
        self.unproved.remove(&number);
        if let Some(open) = self.sources.get_mut(&connection.source) {
            open.remove(&number);
            if open.is_empty() {
                self.sources.remove(&connection.source);
            }
        }
        Some(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 40_000))
    }

    #[test]
    fn strangers_make_room_oldest_first_and_phones_stay() {
        let slots = Slots::new(3, 3);
        let phone = slots.take(1, peer(1)).expect("a place");
        slots.prove(1);
        let old = slots.take(2, peer(2)).expect("a place");
        let young = slots.take(3, peer(3)).expect("a place");
        let newest = slots.take(4, peer(4)).expect("the oldest stranger makes room");
        assert_eq!(
            [phone.standing(), old.standing(), young.standing(), newest.standing()],
            [Standing::Proved, Standing::GivenUp, Standing::Unproved, Standing::Unproved]
        );
        slots.prove(3);
        slots.prove(4);
        assert!(slots.take(5, peer(5)).is_none(), "nobody who proved itself makes room");
        drop(young);
        assert!(slots.take(6, peer(5)).is_some());
    }

    #[test]
    fn one_source_makes_room_for_itself_only() {
        let slots = Slots::new(100, 2);
        let other = slots.take(1, peer(9)).expect("a place");
        let flood: Vec<Slot> = (2..50).map(|number| slots.take(number, peer(1)).expect("a place")).collect();
        assert_eq!(flood.iter().filter(|slot| slot.standing() == Standing::Unproved).count(), 2);
        assert_eq!(other.standing(), Standing::Unproved);
        slots.prove(48);
        slots.prove(49);
        assert!(slots.take(50, peer(1)).is_none());
    }

    /// Whatever opens, proves itself and ends: the counts agree with a naive list.
    #[test]
    fn nothing_is_left_over() {
        let slots = Slots::new(20, 5);
        let mut open: Vec<Slot> = Vec::new();
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for number in 0..5_000_u64 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            match random % 4 {
                0 if !open.is_empty() => {
                    drop(open.swap_remove(usize::try_from(random >> 32).expect("64 bits") % open.len()))
                }
                1 if !open.is_empty() => {
                    slots.prove(open[usize::try_from(random >> 32).expect("64 bits") % open.len()].number())
                }
                _ => open.extend(slots.take(number, peer((random >> 8) as u8 % 7))),
            }
            let places = slots.places();
            let held: BTreeSet<u64> =
                open.iter().filter(|slot| slot.standing() != Standing::GivenUp).map(Slot::number).collect();
            assert_eq!(places.open.keys().copied().collect::<BTreeSet<_>>(), held);
            assert!(places.open.len() <= 20 && places.sources.values().all(|source| source.len() <= 5));
            assert_eq!(places.sources.values().map(BTreeSet::len).sum::<usize>(), held.len());
        }
        drop(open);
        assert!(slots.places().sources.is_empty() && slots.places().unproved.is_empty());
    }
}
