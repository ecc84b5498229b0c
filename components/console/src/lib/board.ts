//! The order of the supervisor's lists: who needs a supervisor first.

import { heldFor } from "./alarms";
import { duration } from "./format";
import { t } from "./i18n";
import type { LiveAgent } from "./live";
import { foremost } from "./desk";

/** From when on a state is too long, milliseconds. */
const LONG = { hold: 60_000, talk: 15 * 60_000, wrap: 5 * 60_000, away: 60 * 60_000 };

export interface AgentRow {
  agent: LiveAgent;
  /** The router's word for what the agent does, or what the agent declares. */
  state: string;
  since: number;
  /** The interaction in hand. */
  interaction: string | null;
  /** Why a supervisor is needed; null: not. */
  need: string | null;
  rank: number;
}

const RANKS: Record<string, number> = { ringing: 10, reserved: 10, held: 11, talking: 12, wrapping_up: 13, ready: 14, not_ready: 15, logged_out: 16 };

export function agentRow(agent: LiveAgent, now: number): AgentRow {
  const engagement = foremost(agent.engagements);
  const state = engagement?.state ?? agent.status.kind;
  const since = engagement?.since ?? agent.status_since_ms;
  const [need, rank] = needOf(agent, state, now - since, now) ?? [null, RANKS[state] ?? 17];
  return { agent, state, since, interaction: engagement?.interaction ?? null, need, rank };
}

function needOf(agent: LiveAgent, state: string, lasts: number, now: number): [string, number] | null {
  const time = duration(lasts);
  if (agent.status.kind === "ready" && agent.reachable === false) return [t("need_unreachable"), 0];
  if (agent.status.kind === "not_ready" && ["rona", "unreachable", "rejected"].includes(agent.status.reason)) return [t("need_missed"), 1];
  if (heldFor(agent, now) > LONG.hold) return [t("need_long_hold", { time }), 2];
  if (state === "talking" && lasts > LONG.talk) return [t("need_long_talk", { time }), 3];
  if (state === "wrapping_up" && lasts > LONG.wrap) return [t("need_long_wrap", { time }), 4];
  if (state === "not_ready" && lasts > LONG.away) return [t("need_long_break", { time }), 5];
  return null;
}

/** Rows in order: needs first, then by state, then by name. */
export function ordered(rows: AgentRow[]): AgentRow[] {
  return rows.sort((a, b) => a.rank - b.rank || (a.agent.name < b.agent.name ? -1 : a.agent.name > b.agent.name ? 1 : 0));
}
