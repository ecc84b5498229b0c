//! How the desk names what it shows.

import type { InHand } from "../../lib/desk";
import type { Names } from "../../lib/directory";
import { t } from "../../lib/i18n";
import type { Interaction, Party } from "../../lib/live";

/** Whom the agent talks with: the customer's name or number, or the colleague. */
export function callerOf(interaction: Interaction, names: Names): string {
  const named = interaction.attributes.name ?? interaction.attributes.caller_name;
  if (named) return named;
  if (interaction.origin === "internal" || interaction.origin === "consult") {
    const name = interaction.initiator ? names.agents.get(interaction.initiator)?.name : undefined;
    if (name) return interaction.origin === "consult" ? t("call_from_agent", { name }) : name;
  }
  const number = interaction.direction === "outbound" ? interaction.called : interaction.caller;
  return number ?? interaction.caller ?? interaction.called ?? t("call_unknown_caller");
}

export function queueOf(interaction: Interaction, names: Names): string {
  return interaction.queue ? (names.queues.get(interaction.queue)?.name ?? "") : "";
}

export function partyName(party: Party, names: Names): string {
  if (party.number) return party.number;
  const name = party.agent ? names.agents.get(party.agent)?.name : undefined;
  return name ?? (party.kind === "supervisor" ? t("party_supervisor") : t("customer_queue"));
}

/** How long the state in hand lasts, milliseconds; of a wrap-up what is left. */
export function timeOf(hand: InHand, now: number): number {
  const { state, since, deadline } = hand.engagement;
  return state === "wrapping_up" && deadline ? deadline - now : now - since;
}
