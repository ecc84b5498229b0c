//! What changed between two versions, in numbers: for logs and status.

use std::collections::BTreeMap;
use std::fmt;

use ringdown_events::CompiledConfig;

/// Added, removed and changed entries by part; parts without change are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary(BTreeMap<&'static str, Change>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Change {
    added: usize,
    removed: usize,
    changed: usize,
}

impl Summary {
    /// Compares. Without an older version everything is new.
    #[must_use]
    pub fn between(older: Option<&CompiledConfig>, newer: &CompiledConfig) -> Self {
        let mut summary = Self::default();
        let skills = |config: &CompiledConfig| config.skills.iter().map(|skill| (skill.clone(), ())).collect();
        summary.compare("skills", older.map(skills).unwrap_or_default(), &skills(newer));
        summary.compare("agents", older.map(|config| config.agents.clone()).unwrap_or_default(), &newer.agents);
        summary.compare("queues", older.map(|config| config.queues.clone()).unwrap_or_default(), &newer.queues);
        summary.compare("routes", older.map(|config| config.routes.clone()).unwrap_or_default(), &newer.routes);
        summary.compare("trunks", older.map(|config| config.trunks.clone()).unwrap_or_default(), &newer.trunks);
        let credentials = older.map(|config| config.credentials.clone()).unwrap_or_default();
        summary.compare("credentials", credentials, &newer.credentials);
        summary
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn compare<K: Ord, V: PartialEq>(&mut self, part: &'static str, older: BTreeMap<K, V>, newer: &BTreeMap<K, V>) {
        let mut change = Change::default();
        for (key, value) in newer {
            match older.get(key) {
                None => change.added += 1,
                Some(before) if before != value => change.changed += 1,
                Some(_) => {}
            }
        }
        change.removed = older.keys().filter(|key| !newer.contains_key(key)).count();
        if change != Change::default() {
            self.0.insert(part, change);
        }
    }
}

/// As `agents +1 -0 ~2, routes +3 -0 ~0`.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (number, (part, change)) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{part} +{} -{} ~{}", change.added, change.removed, change.changed)?;
        }
        Ok(())
    }
}
