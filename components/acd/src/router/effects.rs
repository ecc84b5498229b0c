//! What the voice duty must do about a journal entry.

use ringdown_domain::{AgentId, Delivery, InteractionState, Media, NodeId};
use ringdown_events::{JournalEvent, VoiceEffect};

/// The effect of an entry, and the node whose voice duty carries it out; none when the interaction is on no node.
/// `node` is where the interaction is, for entries that do not carry its record.
pub(crate) fn voice_effect(
    event: &JournalEvent,
    node: Option<NodeId>,
    phone: impl Fn(AgentId) -> (Option<String>, String),
) -> Option<(NodeId, VoiceEffect)> {
    match event {
        JournalEvent::InteractionOffered { interaction, .. } => {
            let InteractionState::Offered { agent, offer, deadline_ms } = interaction.state else { return None };
            let (sip_user, realm) = phone(agent);
            let effect = VoiceEffect::Offer { interaction: interaction.id, offer, agent, sip_user, realm, deadline_ms };
            Some((voice_node(interaction)?, effect))
        }
        JournalEvent::InteractionConnected { interaction } => {
            let InteractionState::Connected { offer, .. } = interaction.state else { return None };
            Some((voice_node(interaction)?, VoiceEffect::Connect { interaction: interaction.id, offer }))
        }
        JournalEvent::InteractionEnded { interaction } => {
            let InteractionState::Ended { reason, .. } = interaction.state else { return None };
            Some((voice_node(interaction)?, VoiceEffect::End { interaction: interaction.id, reason }))
        }
        JournalEvent::OfferFailed { interaction, offer, .. } => {
            Some((node?, VoiceEffect::Withdraw { interaction: *interaction, offer: *offer }))
        }
        JournalEvent::AcdChanged { .. }
        | JournalEvent::AgentChanged { .. }
        | JournalEvent::AgentRemoved { .. }
        | JournalEvent::ConfigApplied { .. }
        | JournalEvent::InteractionQueued { .. } => None,
    }
}

fn voice_node(interaction: &ringdown_events::InteractionRecord) -> Option<NodeId> {
    let rings = interaction.media == Media::Voice && interaction.delivery == Delivery::Ring;
    if rings { interaction.node.clone() } else { None }
}
