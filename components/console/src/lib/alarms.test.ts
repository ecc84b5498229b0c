import { describe, expect, it } from "vitest";
import { Alarms, SILENCE_MS } from "./alarms";
import type { Names } from "./directory";
import type { LiveAgent, LiveView } from "./live";
import { whyWaiting, qualifies } from "./explain";
import type { Interaction } from "./live";

const agent = (id: string, skills: Record<string, number>, status = "ready", reachable = true) =>
  ({ id, name: id, skills, status: { kind: status }, state: { kind: "idle" }, reachable, engagements: [] }) as unknown as LiveAgent;
const names = { queues: new Map([["q", { id: "q", name: "Sales", service_level_ms: 20_000, requirements: [{ skill: "en", min_level: 3 }] }]]), agents: new Map(), reasons: [], results: [] } as unknown as Names;
const view = (oldest: number | null, ...agents: LiveAgent[]) =>
  ({ agents: new Map(agents.map((one) => [one.id, one])), queues: new Map([["q", { queue: "q", oldest_arrived_at_ms: oldest }]]), interactions: new Map() }) as unknown as LiveView;

describe("an alarm", () => {
  it("is one only when its condition has held for its time", () => {
    const alarms = new Alarms();
    const late = view(0, agent("a", { en: 5 }));
    expect(alarms.look(late, names, 25_000)).toEqual([]);
    expect(alarms.look(late, names, 34_000)).toEqual([]);
    expect(alarms.look(late, names, 35_000).map((one) => one.key)).toEqual(["queue_late:q"]);
  });

  it("begins anew after the condition was gone for a moment", () => {
    const alarms = new Alarms();
    const late = view(0, agent("a", { en: 5 }));
    alarms.look(late, names, 25_000);
    alarms.look(view(null, agent("a", { en: 5 })), names, 30_000);
    expect(alarms.look(late, names, 36_000)).toEqual([]);
  });

  it("stays acknowledged, and is silent for its quarter of an hour", () => {
    const alarms = new Alarms();
    const gone = view(null, agent("a", {}, "ready", false));
    alarms.look(gone, names, 0);
    const [alarm] = alarms.look(gone, names, 20_000);
    alarms.acknowledge(alarm?.key ?? "");
    expect(alarms.look(gone, names, 21_000)[0]?.acknowledged).toBe(true);
    alarms.silence(alarm?.key ?? "", 21_000);
    expect(alarms.look(gone, names, 22_000)).toEqual([]);
    expect(alarms.look(gone, names, 21_000 + SILENCE_MS).length).toBe(1);
  });
});

describe("why it waits", () => {
  const waiting = { requirements: [{ skill: "es", min_level: 5 }] } as unknown as Interaction;
  it("names the missing skill", () => {
    expect(whyWaiting(waiting, view(0, agent("a", { es: 4 })))).toBe("explain_nobody_skilled");
    expect(whyWaiting(waiting, view(0, agent("a", { es: 5 }, "logged_out")))).toBe("explain_nobody_at_work");
    expect(whyWaiting(waiting, view(0, agent("a", { es: 5 }, "not_ready")))).toBe("explain_all_busy");
    expect(whyWaiting(waiting, view(0, agent("a", { es: 5 }, "ready", false)))).toBe("explain_unreachable");
  });
  it("asks every skill", () => {
    expect(qualifies(agent("a", { en: 3 }), [{ skill: "en", min_level: 3 }, { skill: "es", min_level: 1 }])).toBe(false);
  });
});
