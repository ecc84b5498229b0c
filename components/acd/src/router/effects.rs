//! What the voice duty must do: how each conversation that changed is to look, as the records say when a batch is built.
//!
//! However often a batch changed a conversation, its last word is said once. A child belongs to its parent's conversation.

use std::collections::BTreeMap;

use ringdown_acd_core::conversation::{is_voice, wanted};
use ringdown_acd_core::routing::{Changes, Router};
use ringdown_domain::{AgentId, InteractionId, NodeId, TimestampMs};
use ringdown_events::{
    CompiledConfig, InteractionRecord, JournalEntry, JournalEvent, VoiceEffect, VoiceEffectEntry, WantedConversation,
};

/// The conversations that changed in a batch, and what is to be done in them once.
#[derive(Debug, Default)]
pub(crate) struct Conversations {
    /// By the interaction they belong to: the number and time of the last entry about it.
    changed: BTreeMap<InteractionId, (u64, TimestampMs)>,
    digits: Vec<(NodeId, VoiceEffectEntry)>,
}

impl Conversations {
    /// Something happened.
    pub(crate) fn note(&mut self, entry: &JournalEntry, core: &Router) {
        if let Some(root) = root_of(&entry.event, core) {
            self.changed.insert(root, (entry.seq, entry.at_ms));
        }
    }

    /// Digits are to be sent to the customer of an interaction. `seq` is the number of the entry that tells of it.
    pub(crate) fn send_digits(
        &mut self,
        seq: u64,
        at_ms: TimestampMs,
        interaction: InteractionId,
        digits: &str,
        core: &Router,
    ) {
        let Some(node) = core.interaction(interaction).and_then(|record| record.node.clone()) else { return };
        let effect = VoiceEffect::SendDigits { interaction, digits: digits.to_owned() };
        self.digits.push((node, VoiceEffectEntry { seq, at_ms, effect }));
    }

    /// What the nodes are told, each in the order of the entries.
    pub(crate) fn effects(
        self,
        core: &Router,
        changes: &Changes,
        config: &CompiledConfig,
    ) -> BTreeMap<NodeId, Vec<VoiceEffectEntry>> {
        let mut effects: BTreeMap<NodeId, Vec<VoiceEffectEntry>> = BTreeMap::new();
        let ended: BTreeMap<InteractionId, &InteractionRecord> =
            changes.ended.iter().map(|record| (record.id, record)).collect();
        for (interaction, (seq, at_ms)) in self.changed {
            let live = core.interaction(interaction);
            let Some(root) = live.or_else(|| ended.get(&interaction).copied()).filter(|root| is_voice(root)) else {
                continue;
            };
            let Some(node) = root.node.clone() else { continue };
            let effect = VoiceEffect::Converse { interaction, wanted: look(root, core, config) };
            effects.entry(node).or_default().push(VoiceEffectEntry { seq, at_ms, effect });
        }
        for (node, entry) in self.digits {
            effects.entry(node).or_default().push(entry);
        }
        for entries in effects.values_mut() {
            entries.sort_by_key(|entry| entry.seq);
        }
        effects
    }
}

/// How a conversation is to look.
fn look(root: &InteractionRecord, core: &Router, config: &CompiledConfig) -> WantedConversation {
    let children: Vec<&InteractionRecord> = root.children.iter().filter_map(|child| core.interaction(*child)).collect();
    wanted(root, &children, |agent| address(config, agent))
}

/// The address of record of an agent's phone.
fn address(config: &CompiledConfig, agent: AgentId) -> Option<String> {
    let user = config.agents.get(&agent)?.phone_user();
    Some(format!("{user}@{}", config.meta.realm))
}

/// To whose conversation an entry belongs. An offer that failed because its interaction ended is followed by the end's entry.
fn root_of(event: &JournalEvent, core: &Router) -> Option<InteractionId> {
    match event {
        JournalEvent::InteractionChanged { interaction }
        | JournalEvent::InteractionConnected { interaction }
        | JournalEvent::InteractionEnded { interaction }
        | JournalEvent::InteractionOffered { interaction, .. }
        | JournalEvent::InteractionQueued { interaction } => Some(interaction.parent.unwrap_or(interaction.id)),
        JournalEvent::OfferFailed { interaction, .. } => {
            core.interaction(*interaction).map(|record| record.parent.unwrap_or(record.id))
        }
        JournalEvent::AcdChanged { .. }
        | JournalEvent::AgentChanged { .. }
        | JournalEvent::AgentRemoved { .. }
        | JournalEvent::ConfigApplied { .. } => None,
    }
}
