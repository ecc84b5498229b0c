import { describe, expect, it, vi } from "vitest";
import { Live, socketUrl, type Interaction, type LiveAgent, type LiveEvent, type Socket } from "./live";

/** The notifier's side of a connection. */
class Server implements Socket {
  static all: Server[] = [];
  sent: Record<string, unknown>[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: unknown }) => void) | null = null;
  onclose: ((closed: { code: number }) => void) | null = null;
  constructor() {
    Server.all.push(this);
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }
  close(): void {
    // The client drops it.
  }
  say(message: unknown): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

const agent = (id: string, name: string) => ({ id, name }) as LiveAgent;
const interaction = (id: string, kind: string) => ({ id, state: { kind } }) as Interaction;
const event = (seq: number, event: unknown) => ({ kind: "event", seq, at_ms: Date.now(), event: event as LiveEvent });
const snapshot = (seq: number, agents: LiveAgent[], interactions: Interaction[] = [], part = 1, last = true) => ({
  kind: "snapshot", position: { epoch: "e", seq }, cause: "first", part, last, acd_open: true, agents, interactions,
});

async function connected(): Promise<{ live: Live; server: () => Server }> {
  Server.all = [];
  vi.useFakeTimers();
  const live = new Live(async () => "ws://x", { topics: ["agents"], open: () => new Server(), schedule: (work) => work() });
  live.start();
  await vi.advanceTimersByTimeAsync(0);
  const server = () => Server.all.at(-1) as Server;
  server().onopen?.();
  return { live, server };
}

describe("the live state", () => {
  it("is replaced whole by a snapshot, once its last part is here", async () => {
    const { live, server } = await connected();
    server().say(snapshot(5, [agent("a", "Ada"), agent("b", "Bruno")]));
    server().say(snapshot(9, [agent("c", "Clara")], [], 1, false));
    expect([...live.view.value.agents.keys()]).toEqual(["a", "b"]);
    server().say(snapshot(9, [agent("d", "Dora")], [], 2));
    expect([...live.view.value.agents.keys()]).toEqual(["c", "d"]);
  });

  it("comes back with the position of the last event it heard", async () => {
    const { server } = await connected();
    server().say(snapshot(5, []));
    server().say(event(6, { kind: "acd_changed", open: false }));
    server().onclose?.({ code: 4001 });
    await vi.advanceTimersByTimeAsync(10);
    server().onopen?.();
    expect(server().sent[0]).toMatchObject({ kind: "open", position: { epoch: "e", seq: 6 } });
  });

  it("never comes back after a code that says stop", async () => {
    for (const [code, state] of [[4501, "signed_out"], [4502, "stopped"], [1009, "stopped"]] as const) {
      const { live, server } = await connected();
      server().say(snapshot(1, []));
      server().onclose?.({ code });
      await vi.advanceTimersByTimeAsync(60_000);
      expect(live.link.value.state).toBe(state);
      expect(Server.all.length).toBe(1);
    }
  });

  it("keeps what ended apart, and a late change does not bring it back", async () => {
    const { live, server } = await connected();
    server().say(snapshot(1, [], [interaction("i", "connected")]));
    server().say(event(2, { kind: "interaction_ended", interaction: interaction("i", "ended") }));
    server().say(event(3, { kind: "interaction_changed", interaction: interaction("i", "ended") }));
    expect(live.view.value.interactions.size).toBe(0);
    expect([...live.view.value.ended.keys()]).toEqual(["i"]);
  });

  it("says since when it is away, and tries again", async () => {
    const { live, server } = await connected();
    server().say(snapshot(1, []));
    server().onclose?.({ code: 1006 });
    expect(live.link.value.state).toBe("away");
    expect(live.link.value.heardAt).toBeGreaterThan(0);
    await vi.advanceTimersByTimeAsync(400);
    expect(Server.all.length).toBe(2);
  });
});

describe("a WebSocket's address", () => {
  it("may be a path on the page's own host, and is secure where the page is", () => {
    expect(socketUrl("/ws", "https://centre.example/agent")).toBe("wss://centre.example/ws");
    expect(socketUrl("/sip", "http://127.0.0.1:8000/agent")).toBe("ws://127.0.0.1:8000/sip");
    expect(socketUrl("wss://other.example:8089/", "https://centre.example/")).toBe("wss://other.example:8089/");
  });
});
