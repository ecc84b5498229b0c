//! The registrar's rule.

use super::binding::{Binding, Flow};
use super::request::{ContactRequest, Contacts, RegisterRequest};
use super::{MAX_BINDINGS, MAX_EXPIRES_S, MIN_EXPIRES_S};

/// One change to the bindings of an AOR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Add or replace the binding of this key.
    Put(Box<Binding>),
    /// Remove the binding of this key, if it is there.
    Remove(String),
}

impl Change {
    /// The key of the binding that changes.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(binding) => &binding.key,
            Self::Remove(key) => key,
        }
    }
}

/// Why a REGISTER changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Shorter than [`MIN_EXPIRES_S`]: 423.
    TooBrief,
    /// CSeq is not higher than the binding's with the same Call-ID: an old REGISTER that came late.
    OutOfOrder,
    /// More than [`MAX_BINDINGS`].
    TooMany,
}

/// What to do with a REGISTER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Answer with the bindings as they are.
    Answer,
    /// Make all these changes or none, then answer with what is there.
    Store(Vec<Change>),
    /// Change nothing.
    Refuse(Refusal),
}

/// Decides what `request`, which came by `flow`, does to the bindings in `current` that have not expired.
pub fn decide(current: &[Binding], request: &RegisterRequest, flow: Flow, holder: &str, now_ms: u64) -> Decision {
    let live = || current.iter().filter(|binding| binding.expires_at_ms > now_ms);
    let changes: Vec<Change> = match &request.contacts {
        Contacts::Query => return Decision::Answer,
        Contacts::RemoveAll => live().map(|binding| Change::Remove(binding.key.clone())).collect(),
        Contacts::These(contacts) => {
            if contacts.iter().any(|contact| (1..MIN_EXPIRES_S).contains(&contact.expires_s)) {
                return Decision::Refuse(Refusal::TooBrief);
            }
            contacts.iter().map(|contact| change(contact, request, flow, holder, now_ms)).collect()
        }
    };
    let old = |change: &Change| {
        live().any(|binding| {
            binding.key == change.key() && binding.call_id == request.call_id && binding.cseq >= request.cseq
        })
    };
    if changes.iter().any(old) {
        return Decision::Refuse(Refusal::OutOfOrder);
    }
    let mut keys: std::collections::BTreeSet<&str> = live().map(|binding| binding.key.as_str()).collect();
    for change in &changes {
        match change {
            Change::Put(binding) => keys.insert(&binding.key),
            Change::Remove(key) => keys.remove(key.as_str()),
        };
    }
    if keys.len() > MAX_BINDINGS {
        return Decision::Refuse(Refusal::TooMany);
    }
    Decision::Store(changes)
}

fn change(contact: &ContactRequest, request: &RegisterRequest, flow: Flow, holder: &str, now_ms: u64) -> Change {
    if contact.expires_s == 0 {
        return Change::Remove(contact.key.clone());
    }
    Change::Put(Box::new(Binding {
        key: contact.key.clone(),
        contact: contact.uri.clone(),
        params: contact.params.clone(),
        q: contact.q,
        call_id: request.call_id.clone(),
        cseq: request.cseq,
        expires_at_ms: now_ms + u64::from(contact.expires_s.min(MAX_EXPIRES_S)) * 1_000,
        flow,
        holder: holder.to_owned(),
        user_agent: request.user_agent.clone(),
        instance: contact.instance.clone(),
        reg_id: contact.reg_id,
    }))
}
