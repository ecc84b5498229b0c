//! The bindings of all AORs in memory: a copy of the store that lookups are served from.

use std::collections::{BTreeMap, BTreeSet};

use super::binding::{Aor, Binding};
use crate::flow::Flow;

/// A binding that went away by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Whose.
    pub aor: Aor,
    /// What it was.
    pub binding: Binding,
}

/// Bindings by AOR, with an index by flow and one by expiry.
#[derive(Debug, Default)]
pub struct Locations {
    by_aor: BTreeMap<Aor, Vec<Binding>>,
    by_flow: BTreeMap<Flow, BTreeSet<(Aor, String)>>,
    by_expiry: BTreeSet<(u64, Aor, String)>,
}

impl Locations {
    /// Replaces all bindings of an AOR.
    pub fn set(&mut self, aor: &Aor, bindings: Vec<Binding>) {
        self.clear(aor);
        for binding in &bindings {
            self.by_flow.entry(binding.flow).or_default().insert((aor.clone(), binding.key.clone()));
            self.by_expiry.insert((binding.expires_at_ms, aor.clone(), binding.key.clone()));
        }
        if !bindings.is_empty() {
            self.by_aor.insert(aor.clone(), bindings);
        }
    }

    /// Removes one binding, when it is there.
    pub fn remove(&mut self, aor: &Aor, key: &str) -> Option<Removed> {
        let mut bindings = self.by_aor.get(aor).cloned()?;
        let at = bindings.iter().position(|binding| binding.key == key)?;
        let binding = bindings.remove(at);
        self.set(aor, bindings);
        Some(Removed { aor: aor.clone(), binding })
    }

    /// Removes what expired until now.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Removed> {
        let mut gone = Vec::new();
        while let Some((at_ms, aor, key)) = self.by_expiry.first().cloned() {
            if at_ms > now_ms {
                break;
            }
            gone.extend(self.remove(&aor, &key));
            // Each step must shorten the set, whatever remove() found.
            self.by_expiry.remove(&(at_ms, aor, key));
        }
        gone
    }

    /// Removes the bindings that were reached by a connection which is gone.
    pub fn drop_flow(&mut self, flow: Flow) -> Vec<Removed> {
        let keys = self.by_flow.get(&flow).cloned().unwrap_or_default();
        keys.into_iter().filter_map(|(aor, key)| self.remove(&aor, &key)).collect()
    }

    /// The bindings of an AOR, expired ones included.
    pub fn all(&self, aor: &Aor) -> &[Binding] {
        self.by_aor.get(aor).map_or(&[], Vec::as_slice)
    }

    /// The bindings of an AOR that can be reached now.
    pub fn live(&self, aor: &Aor, now_ms: u64) -> impl Iterator<Item = &Binding> {
        self.all(aor).iter().filter(move |binding| binding.expires_at_ms > now_ms)
    }

    /// The AOR and key of a binding that uses this flow.
    pub fn at_flow(&self, flow: Flow) -> Option<&(Aor, String)> {
        self.by_flow.get(&flow).and_then(BTreeSet::first)
    }

    /// When the next binding expires.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.by_expiry.first().map(|(at_ms, ..)| *at_ms)
    }

    /// Bindings held.
    pub fn len(&self) -> usize {
        self.by_expiry.len()
    }

    /// True without bindings.
    pub fn is_empty(&self) -> bool {
        self.by_expiry.is_empty()
    }

    fn clear(&mut self, aor: &Aor) {
        for binding in self.by_aor.remove(aor).unwrap_or_default() {
            self.by_expiry.remove(&(binding.expires_at_ms, aor.clone(), binding.key.clone()));
            if let Some(keys) = self.by_flow.get_mut(&binding.flow) {
                keys.remove(&(aor.clone(), binding.key));
                if keys.is_empty() {
                    self.by_flow.remove(&binding.flow);
                }
            }
        }
    }
}
