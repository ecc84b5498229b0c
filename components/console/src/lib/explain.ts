//! Why an interaction waits, from the live state; and what happened to it, as sentences.

import type { components } from "../generated/api";
import type { Names } from "./directory";
import { duration } from "./format";
import { t, word } from "./i18n";
import type { Decision, Interaction, LiveAgent, LiveView } from "./live";

type StoryEntry = components["schemas"]["StoryEntry"];
type Requirement = components["schemas"]["Requirement"];

/** Whether an agent has every skill at its level. */
export function qualifies(agent: LiveAgent, requirements: readonly Requirement[]): boolean {
  return requirements.every(({ skill, min_level }) => (agent.skills[skill] ?? 0) >= min_level);
}

/** Why a waiting interaction waits. */
export function whyWaiting(interaction: Interaction, view: LiveView): string {
  const { requirements } = interaction;
  const agents = [...view.agents.values()];
  const able = agents.filter((agent) => qualifies(agent, requirements));
  if (able.length === 0) {
    const missing = requirements.filter((one) => !agents.some((agent) => qualifies(agent, [one])));
    const named = (missing.length > 0 ? missing : requirements).map((one) => t("explain_skill", { skill: one.skill, level: one.min_level }));
    return t("explain_nobody_skilled", { skills: named.join(" + ") });
  }
  const working = able.filter((agent) => agent.status.kind !== "logged_out");
  if (working.length === 0) return t("explain_nobody_at_work", { count: able.length });
  const ready = working.filter((agent) => agent.status.kind === "ready" && agent.state.kind === "idle");
  if (ready.length === 0) return t("explain_all_busy", { count: working.length });
  if (ready.every((agent) => agent.reachable === false)) return t("explain_unreachable", { count: ready.length });
  return t("explain_about_to");
}

export interface Told {
  seq: number;
  at: number;
  text: string;
  /** The reason behind it, if one is known. */
  why: string | null;
}

/** A history as sentences, the first one first. */
export function story(entries: StoryEntry[], names: Names): Told[] {
  let before: Interaction | null = null;
  return entries.map((entry) => {
    const told = tell(entry, before, names);
    if ("interaction" in entry.event) before = entry.event.interaction;
    return { seq: entry.seq, at: entry.at_ms, ...told };
  });
}

function tell({ event, at_ms }: StoryEntry, before: Interaction | null, names: Names): { text: string; why: string | null } {
  const agentName = (id: string | null | undefined) => (id ? (names.agents.get(id)?.name ?? id.slice(0, 8)) : "");
  switch (event.kind) {
    case "interaction_queued":
      return { text: before === null ? t("story_queued") : t("story_returned"), why: null };
    case "interaction_offered": {
      const { state } = event.interaction;
      const agent = agentName(state.kind === "offered" || state.kind === "connected" ? state.agent : null);
      return { text: t("story_offered", { agent }), why: whyAgent(event.decision) };
    }
    case "interaction_connected": {
      const { state } = event.interaction;
      const agent = agentName(state.kind === "connected" ? state.agent : null);
      return { text: t("story_connected", { agent, time: duration(at_ms - event.interaction.arrived_at_ms) }), why: null };
    }
    case "interaction_ended": {
      const { state } = event.interaction;
      return { text: t("story_ended", { why: state.kind === "ended" ? word("end", state.reason) : "" }), why: null };
    }
    case "offer_failed":
      return { text: t("story_failed", { agent: agentName(event.agent), why: event.failure ? word("fail", event.failure) : t("fail_withdrawn") }), why: null };
    case "interaction_changed":
      return { text: t("story_changed", { what: changes(before, event.interaction, names) }), why: null };
  }
}

function whyAgent(decision: Decision): string {
  if (decision.trigger === "directed") return t("story_why_directed");
  if (decision.interactions.length > 0) return t("story_why_turn", { count: decision.interactions_waiting });
  return t("story_why_longest", { count: decision.agents_available, time: duration(decision.available_ms) });
}

/** What of a record is another now. */
function changes(before: Interaction | null, now: Interaction, names: Names): string {
  const said: string[] = [];
  if (before?.call?.held !== now.call?.held && now.call?.held) said.push(t("story_held"));
  if (before?.call?.recording !== now.call?.recording && now.call) said.push(t("story_recording", { what: word("recording", now.call.recording) }));
  const count = (one: Interaction | null) => one?.call?.parties.length ?? 0;
  if (count(before) !== count(now)) {
    const parties = (now.call?.parties ?? []).map((party) => party.number ?? (party.agent ? (names.agents.get(party.agent)?.name ?? "") : "")).filter((name) => name !== "");
    if (parties.length > 0) said.push(t("story_parties", { what: parties.join(", ") }));
  }
  if (before?.disposition?.code !== now.disposition?.code && now.disposition) said.push(t("story_result", { what: word("result", now.disposition.code) }));
  return said.length > 0 ? said.join(", ") : t("story_other");
}
