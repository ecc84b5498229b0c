//! The registrar's rule.

use std::collections::BTreeSet;

use super::binding::Binding;
use super::flow::Flow;
use super::request::{ContactRequest, Contacts, RegisterRequest};
use super::{MAX_BINDINGS, MAX_EXPIRES_S, MIN_EXPIRES_S, NAT_EXPIRES_S};

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
    /// More than [`MAX_BINDINGS`] in one request.
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
            binding.key == change.key() && binding.is_newer_than(&request.call_id, &request.from_tag, request.cseq)
        })
    };
    if changes.iter().any(old) {
        return Decision::Refuse(Refusal::OutOfOrder);
    }
    match make_room(live(), changes) {
        Some(changes) => Decision::Store(changes),
        None => Decision::Refuse(Refusal::TooMany),
    }
}

/// The changes, with removals of the bindings that expire first when there would be too many; none when the request alone
/// holds too many.
fn make_room<'a>(live: impl Iterator<Item = &'a Binding>, mut changes: Vec<Change>) -> Option<Vec<Change>> {
    let touched: BTreeSet<&str> = changes.iter().map(Change::key).collect();
    let mut put = BTreeSet::new();
    for change in &changes {
        match change {
            Change::Put(binding) => put.insert(binding.key.as_str()),
            Change::Remove(key) => put.remove(key.as_str()),
        };
    }
    let room = MAX_BINDINGS.checked_sub(put.len())?;
    let mut others: Vec<&Binding> = live.filter(|binding| !touched.contains(binding.key.as_str())).collect();
    others.sort_by_key(|binding| std::cmp::Reverse((binding.expires_at_ms, &binding.key)));
    let oldest: Vec<Change> = others.iter().skip(room).map(|binding| Change::Remove(binding.key.clone())).collect();
    changes.extend(oldest);
    Some(changes)
}

/// How long a contact is bound, seconds.
fn granted_s(contact: &ContactRequest, flow: Flow) -> u32 {
    let behind_nat = !flow.is_reliable() && contact.address != Some(flow.peer);
    contact.expires_s.min(if behind_nat { NAT_EXPIRES_S } else { MAX_EXPIRES_S })
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
        expires_at_ms: now_ms + u64::from(granted_s(contact, flow)) * 1_000,
        flow,
        holder: holder.to_owned(),
        user_agent: request.user_agent.clone(),
        instance: contact.instance.clone(),
        reg_id: contact.reg_id,
    }))
}
