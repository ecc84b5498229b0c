//! WebSockets whose opening message has not come. Strangers may open as many as they like: they cost little, for seconds, and
//! the oldest leaves when there are too many, of one source first.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The share of the lobby that one source may take: a site or a load balancer, whose browsers open within milliseconds.
const SOURCE_SHARE: usize = 4;

/// The lobby. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Lobby {
    most: usize,
    list: Arc<Mutex<List>>,
}

#[derive(Debug, Default)]
struct List {
    next: u64,
    by_age: BTreeMap<u64, (IpAddr, Arc<Notify>)>,
    by_source: HashMap<IpAddr, usize>,
}

/// One who waits; leaving the lobby is dropping it.
#[derive(Debug)]
pub(crate) struct Guest {
    lobby: Lobby,
    number: u64,
    leave: Arc<Notify>,
}

impl Lobby {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, list: Arc::default() }
    }

    /// Lets one more in; the oldest leaves for it when there is no room.
    pub(crate) fn enter(&self, source: IpAddr) -> Guest {
        let mut list = self.list();
        list.next += 1;
        let number = list.next;
        let leave = Arc::new(Notify::new());
        list.by_age.insert(number, (source, Arc::clone(&leave)));
        let of_source = list.by_source.entry(source).or_default();
        *of_source += 1;
        let too_many_of_source = *of_source > (self.most / SOURCE_SHARE).max(1);
        let oldest = list.by_age.iter().find(|(_, (from, _))| !too_many_of_source || *from == source);
        let oldest = oldest.map(|(number, _)| *number);
        if (too_many_of_source || list.by_age.len() > self.most)
            && let Some(leave) = oldest.and_then(|oldest| list.remove(oldest))
        {
            leave.notify_one();
        }
        Guest { lobby: self.clone(), number, leave }
    }

    /// Each change is one entry's, so a poisoned list is whole.
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    fn remove(&mut self, number: u64) -> Option<Arc<Notify>> {
        let (source, leave) = self.by_age.remove(&number)?;
        if let Some(count) = self.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
        Some(leave)
    }
}

impl Guest {
    /// Completes when somebody newer needs the room.
    pub(crate) async fn must_leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.lobby.list().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const fn source(number: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))
    }

    async fn leaves(guest: &Guest) -> bool {
        tokio::time::timeout(std::time::Duration::ZERO, guest.must_leave()).await.is_ok()
    }

    #[tokio::test]
    async fn the_oldest_leaves_of_one_source_first() {
        let lobby = Lobby::new(8);
        let other = lobby.enter(source(1));
        let greedy: Vec<Guest> = (0..3).map(|_| lobby.enter(source(2))).collect();
        assert!(!leaves(&other).await && leaves(&greedy[0]).await && !leaves(&greedy[1]).await);
        let many: Vec<Guest> = (3..9).map(|number| lobby.enter(source(number))).collect();
        assert!(leaves(&other).await && !leaves(&many[0]).await);
        drop((other, greedy, many));
        assert!(lobby.list().by_source.is_empty());
    }
}
