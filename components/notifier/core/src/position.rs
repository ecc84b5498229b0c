//! Positions in a tenant's journal, and how a client that comes back goes on.

use ringdown_live_views::{Position, SnapshotCause};

/// How a connection starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Deltas only, from the entry after this one.
    After(u64),
    /// The whole state first.
    Snapshot(SnapshotCause),
}

/// Decides how a client goes on. `first` and `last` are the oldest and the newest sequence number still kept; `last` is
/// 0 and `first` 1 in an empty journal.
#[must_use]
pub fn resume(client: Option<&Position>, epoch: &str, first: u64, last: u64) -> Resume {
    let Some(position) = client else {
        return Resume::Snapshot(SnapshotCause::First);
    };
    if position.epoch != epoch || position.seq > last {
        return Resume::Snapshot(SnapshotCause::JournalReset);
    }
    // The next entry it needs must still be there; if it has seen everything, it needs none.
    if position.seq < last && position.seq + 1 < first {
        return Resume::Snapshot(SnapshotCause::TooOld);
    }
    Resume::After(position.seq)
}

#[cfg(test)]
mod tests {
    use super::{Position, Resume, SnapshotCause, resume};

    fn check(client: Option<(&str, u64)>, first: u64, last: u64, expected: Resume) {
        let client = client.map(|(epoch, seq)| Position { epoch: epoch.to_owned(), seq });
        assert_eq!(resume(client.as_ref(), "e", first, last), expected, "{client:?} in {first}..={last}");
    }

    #[test]
    fn every_case() {
        check(None, 1, 9, Resume::Snapshot(SnapshotCause::First));
        check(Some(("e", 9)), 1, 9, Resume::After(9));
        check(Some(("e", 0)), 1, 9, Resume::After(0));
        check(Some(("e", 4)), 5, 9, Resume::After(4));
        check(Some(("e", 3)), 5, 9, Resume::Snapshot(SnapshotCause::TooOld));
        check(Some(("e", 10)), 5, 9, Resume::Snapshot(SnapshotCause::JournalReset));
        check(Some(("old", 6)), 5, 9, Resume::Snapshot(SnapshotCause::JournalReset));
        check(Some(("e", 0)), 1, 0, Resume::After(0));
        check(Some(("e", 9)), 10, 9, Resume::After(9));
    }
}
