//! What a supervisor should be told without looking: a condition that has held for its time. Acknowledged alarms stay listed;
//! silenced ones are gone for a while. Pure: the time comes in, so it is tested without waiting.

import type { Names } from "./directory";
import type { LiveAgent, LiveView } from "./live";
import { qualifies } from "./explain";

export type AlarmKind = "queue_late" | "queue_nobody" | "agent_unreachable" | "long_hold";

export interface Alarm {
  /** Kind and object; the same alarm keeps it. */
  key: string;
  kind: AlarmKind;
  /** The queue or the agent. */
  object: string;
  /** Since when the condition holds, Unix milliseconds. */
  since: number;
  acknowledged: boolean;
}

export interface Limits {
  /** How long a condition must hold before it is an alarm, milliseconds. */
  forMs: Record<AlarmKind, number>;
  holdMs: number;
}

export const USUAL_LIMITS: Limits = {
  forMs: { queue_late: 10_000, queue_nobody: 15_000, agent_unreachable: 20_000, long_hold: 0 },
  holdMs: 120_000,
};
/** How long a silenced alarm is silent, milliseconds. */
export const SILENCE_MS = 15 * 60_000;

export class Alarms {
  readonly #since = new Map<string, number>();
  readonly #acknowledged = new Set<string>();
  readonly #silenced = new Map<string, number>();

  constructor(private readonly limits: Limits = USUAL_LIMITS) {}

  /** The alarms at `now`, the oldest first. */
  look(view: LiveView, names: Names, now: number): Alarm[] {
    const holding = conditions(view, names, now, this.limits);
    for (const key of [...this.#since.keys()]) {
      if (holding.has(key)) continue;
      this.#since.delete(key);
      this.#acknowledged.delete(key);
    }
    const alarms: Alarm[] = [];
    for (const [key, { kind, object }] of holding) {
      const since = this.#since.get(key) ?? now;
      this.#since.set(key, since);
      const silent = (this.#silenced.get(key) ?? 0) > now;
      if (now - since >= this.limits.forMs[kind] && !silent) {
        alarms.push({ key, kind, object, since, acknowledged: this.#acknowledged.has(key) });
      }
    }
    return alarms.sort((a, b) => a.since - b.since);
  }

  acknowledge(key: string): void {
    this.#acknowledged.add(key);
  }

  silence(key: string, now: number): void {
    this.#silenced.set(key, now + SILENCE_MS);
  }
}

type Condition = { kind: AlarmKind; object: string };

function conditions(view: LiveView, names: Names, now: number, limits: Limits): Map<string, Condition> {
  const found = new Map<string, Condition>();
  const add = (kind: AlarmKind, object: string) => found.set(`${kind}:${object}`, { kind, object });
  for (const [id, figures] of view.queues) {
    const queue = names.queues.get(id);
    const oldest = figures.oldest_arrived_at_ms;
    if (oldest === null || oldest === undefined || queue === undefined) continue;
    if (now - oldest > (queue.service_level_ms ?? 20_000)) add("queue_late", id);
    const requirements = queue.requirements ?? [];
    if (![...view.agents.values()].some((agent) => agent.status.kind !== "logged_out" && qualifies(agent, requirements))) add("queue_nobody", id);
  }
  for (const agent of view.agents.values()) {
    if (agent.status.kind === "ready" && agent.reachable === false) add("agent_unreachable", agent.id);
    if (heldFor(agent, now) > limits.holdMs) add("long_hold", agent.id);
  }
  return found;
}

/** How long an agent's caller has been on hold, milliseconds; 0: nobody is. */
export function heldFor(agent: LiveAgent, now: number): number {
  const held = agent.engagements.find((one) => one.state === "held");
  return held === undefined ? 0 : now - held.since;
}
