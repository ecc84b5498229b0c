//! The registrar's rule.

use std::collections::BTreeSet;

use super::binding::Binding;
use super::request::{ContactRequest, Contacts, RegisterRequest};
use super::{MAX_BINDINGS, MAX_EXPIRES_S, MIN_EXPIRES_S};
use crate::flow::Flow;

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
    /// More than [`MAX_BINDINGS`] in one REGISTER.
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
    let old = |change: &Change| live().any(|binding| binding.key == change.key() && is_late(binding, request));
    if changes.iter().any(old) {
        return Decision::Refuse(Refusal::OutOfOrder);
    }
    if changes.iter().filter(|change| matches!(change, Change::Put(_))).count() > MAX_BINDINGS {
        return Decision::Refuse(Refusal::TooMany);
    }
    Decision::Store(changes)
}

/// An old REGISTER that came late: same Call-ID, CSeq not higher (RFC 3261 10.3 step 7). A phone that was restarted may
/// begin to count anew with the same Call-ID; it is told by its new From tag, and it has proved who it is.
fn is_late(binding: &Binding, request: &RegisterRequest) -> bool {
    let same_life = binding.from_tag.is_empty() || binding.from_tag == request.from_tag;
    binding.call_id == request.call_id && binding.cseq >= request.cseq && same_life
}

/// The keys of the bindings that must go when an AOR has more than [`MAX_BINDINGS`]: the oldest of those that are not in
/// `kept`. A softphone that comes with another port after each crash replaces its own past.
pub fn surplus<'a>(bindings: &'a [Binding], kept: &BTreeSet<&str>) -> Vec<&'a str> {
    let mut others: Vec<&Binding> = bindings.iter().filter(|binding| !kept.contains(binding.key.as_str())).collect();
    others.sort_by(|a, b| a.registered_at_ms.cmp(&b.registered_at_ms).then_with(|| a.key.cmp(&b.key)));
    let over = bindings.len().saturating_sub(MAX_BINDINGS);
    others.iter().take(over).map(|binding| binding.key.as_str()).collect()
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
        from_tag: request.from_tag.clone(),
        registered_at_ms: now_ms,
        expires_at_ms: now_ms + u64::from(contact.expires_s.min(MAX_EXPIRES_S)) * 1_000,
        flow,
        holder: holder.to_owned(),
        user_agent: request.user_agent.clone(),
        instance: contact.instance.clone(),
        reg_id: contact.reg_id,
    }))
}
