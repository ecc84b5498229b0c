//! What has become of each interaction, from what the API says.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

/// Where an interaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Not with an agent yet.
    Waiting,
    /// With an agent, since (UTC milliseconds).
    Connected { since_ms: u64 },
    /// Over; with an agent or not.
    Ended { answered: bool },
}

/// One interaction.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    pub(super) arrived_at_ms: u64,
    /// When an agent had it.
    pub(super) connected_at_ms: Option<u64>,
    pub(super) fate: Fate,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(BTreeMap<Uuid, Followed>);

impl Tally {
    /// What the API shows of an interaction; an older view never undoes an end.
    pub(super) fn see(&mut self, interaction: &Value) -> Option<Uuid> {
        let id = interaction["id"].as_str()?.parse().ok()?;
        let state = &interaction["state"];
        let fate = match state["kind"].as_str()? {
            "waiting" | "offered" => Fate::Waiting,
            "connected" => Fate::Connected { since_ms: state["since_ms"].as_u64()? },
            "ended" => Fate::Ended { answered: state["agent"].is_string() && state["reason"] != "abandoned" },
            _ => return None,
        };
        let arrived_at_ms = interaction["arrived_at_ms"].as_u64()?;
        let followed = self.0.entry(id).or_insert(Followed { arrived_at_ms, connected_at_ms: None, fate });
        if let Fate::Connected { since_ms } = fate {
            followed.connected_at_ms = Some(since_ms);
        }
        if !matches!(followed.fate, Fate::Ended { .. }) {
            followed.fate = fate;
        }
        Some(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Uuid, &Followed)> {
        self.0.iter()
    }

    /// Those that are not over.
    pub(super) fn open(&self) -> Vec<Uuid> {
        self.0.iter().filter(|(_, one)| !matches!(one.fate, Fate::Ended { .. })).map(|(id, _)| *id).collect()
    }

    /// How many are over.
    pub(super) fn ended(&self) -> u64 {
        self.0.len() as u64 - self.open().len() as u64
    }

    /// Waits of those that an agent had and that are over.
    pub(super) fn waits_ms(&self) -> Vec<u64> {
        let answered = self.0.values().filter(|one| one.fate == Fate::Ended { answered: true });
        answered.map(|one| one.connected_at_ms.map_or(0, |at| at.saturating_sub(one.arrived_at_ms))).collect()
    }

    /// Those that are over without an agent.
    pub(super) fn abandoned(&self) -> u64 {
        self.0.values().filter(|one| one.fate == Fate::Ended { answered: false }).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fates_only_go_forward() {
        let id = Uuid::from_u128(5);
        let view = |state: Value| json!({ "id": id, "arrived_at_ms": 1_000, "state": state });
        let mut tally = Tally::default();
        tally.see(&view(json!({ "kind": "waiting" })));
        assert_eq!(tally.open(), [id]);
        tally.see(&view(json!({ "kind": "connected", "since_ms": 1_700 })));
        tally.see(&view(json!({ "kind": "ended", "reason": "completed", "agent": "a" })));
        tally.see(&view(json!({ "kind": "waiting" })));
        assert_eq!((tally.open().len(), tally.ended(), tally.abandoned()), (0, 1, 0));
        assert_eq!(tally.waits_ms(), [700]);
        assert_eq!(tally.see(&json!({ "id": "nonsense" })), None);
    }
}
