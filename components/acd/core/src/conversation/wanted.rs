//! What a conversation is to look like, from the records of its interaction and of those that take part in it. The router's
//! effects and a successor's look at the records say the same, since both come from here.

use ringdown_domain::{AgentId, CustomerSide, InteractionState, Media, Origin, PartyRole};
use ringdown_events::{InteractionRecord, WantedConversation, WantedCustomer, WantedLeg, WantedParty};

/// Whether an interaction is a conversation that a voice duty holds.
#[must_use]
pub fn is_voice(record: &InteractionRecord) -> bool {
    record.media == Media::Voice && record.delivery == ringdown_domain::Delivery::Ring && record.node.is_some()
}

/// What the conversation of `root` is to look like. `children` are the live interactions among [`InteractionRecord::children`];
/// `address` gives the address of record of an agent's phone, none when the agent has no phone.
#[must_use]
pub fn wanted(
    root: &InteractionRecord,
    children: &[&InteractionRecord],
    address: impl Fn(AgentId) -> Option<String>,
) -> WantedConversation {
    let customer = customer(root, children);
    let is_over = matches!(customer, WantedCustomer::Gone { .. });
    let legs = if is_over {
        Vec::new()
    } else {
        std::iter::once(root).chain(children.iter().copied()).filter_map(|record| leg(record, &address)).collect()
    };
    let is_ours = matches!(customer, WantedCustomer::Dialled { .. } | WantedCustomer::Nobody);
    let shows = root.called.clone().filter(|_| is_ours);
    WantedConversation { customer, legs, recording: root.recording, queue: root.queue, shows }
}

fn customer(root: &InteractionRecord, children: &[&InteractionRecord]) -> WantedCustomer {
    let is_apart = || {
        let consulted = |child: &&InteractionRecord| child.role == Some(PartyRole::Consult);
        root.held_since_ms.is_some() || children.iter().any(consulted)
    };
    match (&root.state, root.customer) {
        (InteractionState::Ended { reason, .. }, _) => WantedCustomer::Gone { reason: *reason },
        (_, CustomerSide::Nobody) => WantedCustomer::Nobody,
        (InteractionState::Waiting | InteractionState::Offered { .. }, CustomerSide::Here) => WantedCustomer::Waiting,
        // Nobody is dialled before the agent who calls is on the line.
        (InteractionState::Waiting | InteractionState::Offered { .. }, CustomerSide::Dialling) => {
            WantedCustomer::Nobody
        }
        (InteractionState::Connected { .. } | InteractionState::External { .. }, CustomerSide::Dialling) => {
            root.called.clone().map_or(WantedCustomer::Nobody, |number| WantedCustomer::Dialled { number })
        }
        // The outside number rings: the customer hears music until it answers.
        (InteractionState::External { deadline_ms: Some(_), .. }, CustomerSide::Here) => WantedCustomer::Held,
        (InteractionState::Connected { .. } | InteractionState::External { .. }, CustomerSide::Here) => {
            if is_apart() {
                WantedCustomer::Held
            } else {
                WantedCustomer::Joined
            }
        }
    }
}

fn leg(record: &InteractionRecord, address: &impl Fn(AgentId) -> Option<String>) -> Option<WantedLeg> {
    let (leg, party, ring_until_ms) = match &record.state {
        InteractionState::Offered { agent, offer, deadline_ms } => {
            (*offer, WantedParty::Agent { agent: *agent, address: address(*agent) }, Some(*deadline_ms))
        }
        InteractionState::Connected { agent, offer, .. } => {
            (*offer, WantedParty::Agent { agent: *agent, address: address(*agent) }, None)
        }
        InteractionState::External { number, leg, deadline_ms, .. } => {
            (*leg, WantedParty::Number { number: number.clone() }, *deadline_ms)
        }
        InteractionState::Waiting | InteractionState::Ended { .. } => return None,
    };
    let auto_answer = match (record.origin, &party) {
        (Origin::Manual | Origin::Internal | Origin::Supervision, WantedParty::Agent { agent, .. }) => {
            record.initiator == Some(*agent)
        }
        _ => false,
    };
    Some(WantedLeg {
        leg,
        interaction: record.id,
        party,
        ring_until_ms,
        role: record.role,
        muted: record.muted,
        auto_answer,
    })
}
