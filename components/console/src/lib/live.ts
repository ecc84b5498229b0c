//! The live state: a WebSocket to the notifier, a snapshot that replaces everything, events in order, resumption by position.
//!
//!   connecting --opened--> live --close 4000..4499, or cut off--> away --(at once or after a pause)--> connecting
//!        `------ close 4501 --> signed_out        `--- other close codes --> stopped
//!
//! It never guesses: what it shows is what the router has committed, and while it is away it says since when.

import type { Api } from "./api";
import { Cell } from "./cell";
import { ServerClock } from "./clock";
import type { components } from "../generated/live";

type Schemas = components["schemas"];
export type LiveAgent = Schemas["LiveAgent"];
export type Interaction = Schemas["Interaction"];
export type QueueFigures = Schemas["QueueFigures"];
export type LiveEvent = Schemas["LiveEvent"];
export type Decision = Schemas["Decision"];
export type Party = Schemas["Party"];
export type Engagement = Schemas["Engagement"];
type ServerMessage = Schemas["ServerMessage"];
type Position = Schemas["Position"];
export type Topic = Schemas["Topic"];

/** Everything known now. A new object at each change; the maps inside are the same ones, changed. */
export interface LiveView {
  /** The first snapshot is here. */
  ready: boolean;
  acdOpen: boolean;
  agents: Map<string, LiveAgent>;
  interactions: Map<string, Interaction>;
  /** What ended while we watched, the oldest first. */
  ended: Map<string, Interaction>;
  queues: Map<string, QueueFigures>;
  /** Why an interaction was offered last; only where the log-in may see that. */
  decisions: Map<string, Decision>;
}

export type LinkState = "connecting" | "live" | "away" | "signed_out" | "stopped";
export interface Link {
  state: LinkState;
  /** When the last message came, Unix milliseconds by the server's clock; 0: never. */
  heardAt: number;
}

/** A socket as we use it; tests bring their own. */
export interface Socket {
  send(text: string): void;
  close(): void;
  onopen: (() => void) | null;
  onmessage: ((message: { data: unknown }) => void) | null;
  onclose: ((closed: { code: number }) => void) | null;
}

export interface LiveOptions {
  topics: Topic[];
  /** For log-ins that belong to no tenant. */
  tenant?: string | undefined;
  open?: (url: string) => Socket;
  /** Draws: called with the work to do before the next frame. */
  schedule?: (work: () => void) => void;
}

/** How many ended interactions are kept. */
const ENDED_KEPT = 300;
/** Pauses before the next attempt, milliseconds; the last one repeats. */
const PAUSES_MS = [250, 1_000, 2_000, 5_000, 10_000];
/** The notifier says something at least every 15 s (its heartbeat); after this it is taken for gone, milliseconds. */
const SILENCE_MS = 40_000;

export class Live {
  readonly clock = new ServerClock();
  readonly view = new Cell<LiveView>(empty());
  readonly link = new Cell<Link>({ state: "connecting", heardAt: 0 });
  /** Each event as it comes, after the state took it; not those a snapshot stands for. */
  readonly onEvent = new Set<(event: LiveEvent, at: number) => void>();

  #state = empty();
  #coming: LiveView | null = null;
  #position: Position | null = null;
  #socket: Socket | null = null;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;
  #heard = 0;
  #drawing = false;
  #wanted = false;

  constructor(
    private readonly url: () => Promise<string>,
    private readonly options: LiveOptions,
  ) {}

  /** Connects, and stays connected until `stop`. */
  start(): void {
    this.#wanted = true;
    void this.#connect();
    this.#watch = setInterval(() => this.check(), 10_000);
  }

  stop(): void {
    this.#wanted = false;
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
    this.#drop();
  }

  /** The page woke up, or the network is back: looks at the socket at once. */
  check(): void {
    if (!this.#wanted) return;
    if (this.#socket === null && this.link.value.state === "away") {
      clearTimeout(this.#timer);
      void this.#connect();
    } else if (this.#socket !== null && Date.now() - this.#heard > SILENCE_MS) {
      this.#drop();
      this.#later(1006);
    }
  }

  async #connect(): Promise<void> {
    if (this.#socket !== null) return;
    let address: string;
    try {
      address = await this.url();
    } catch {
      this.#later(1006);
      return;
    }
    if (!this.#wanted || this.#socket !== null) return;
    const socket = (this.options.open ?? openSocket)(address);
    this.#socket = socket;
    this.#heard = Date.now();
    socket.onopen = () => socket.send(JSON.stringify(this.#opening()));
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#take(JSON.parse(String(data)) as ServerMessage);
    };
    socket.onclose = ({ code }) => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      this.#later(code);
    };
  }

  #opening(): Record<string, unknown> {
    const opening: Record<string, unknown> = { kind: "open", topics: this.options.topics };
    if (this.options.tenant !== undefined) opening.tenant = this.options.tenant;
    if (this.#position !== null && this.#state.ready) opening.position = this.#position;
    return opening;
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #later(code: number): void {
    if (!this.#wanted) return;
    if (code === 4501) return this.#say("signed_out");
    if (code >= 4500 || code === 1002 || code === 1007 || code === 1009) return this.#say("stopped");
    this.#say("away");
    const pause = code === 4000 || code === 4001 ? 0 : (PAUSES_MS[Math.min(this.#attempt, PAUSES_MS.length - 1)] ?? 0);
    this.#attempt += 1;
    this.#timer = setTimeout(() => void this.#connect(), pause * (0.75 + Math.random() / 2));
  }

  #say(state: LinkState): void {
    this.link.set({ state, heardAt: this.link.value.heardAt });
  }

  #take(message: ServerMessage): void {
    this.#heard = Date.now();
    switch (message.kind) {
      case "snapshot":
        this.#snapshot(message);
        break;
      case "resumed":
        this.clock.reset();
        this.#position = message.position;
        this.#lively();
        break;
      case "position":
        this.#position = message.position;
        this.#lively();
        break;
      case "queues":
        for (const figures of message.queues) this.#state.queues.set(figures.queue ?? "", figures);
        this.#changed();
        break;
      case "event":
        this.#event(message.seq, message.at_ms, message.event);
        break;
    }
  }

  #snapshot(part: Extract<ServerMessage, { kind: "snapshot" }>): void {
    if (part.part === 1 || this.#coming === null) {
      this.#coming = { ...empty(), queues: new Map(), ended: this.#state.ended, decisions: this.#state.decisions };
    }
    const coming = this.#coming;
    coming.acdOpen = part.acd_open;
    for (const agent of part.agents) coming.agents.set(agent.id, agent);
    for (const interaction of part.interactions) coming.interactions.set(interaction.id, interaction);
    if (!part.last) return;
    coming.ready = true;
    this.#state = coming;
    this.#coming = null;
    this.#position = part.position;
    this.#lively();
    this.#changed();
  }

  #event(seq: number, at: number, event: LiveEvent): void {
    this.clock.observe(at);
    if (this.#position !== null) this.#position = { ...this.#position, seq };
    apply(this.#state, event);
    this.#lively();
    this.#changed();
    for (const listener of this.onEvent) listener(event, at);
  }

  /** Something came: the link is live, and the next loss begins with the shortest pause. */
  #lively(): void {
    this.#attempt = 0;
    const now = this.clock.now();
    const { state, heardAt } = this.link.value;
    if (state !== "live" || now - heardAt > 1_000) this.link.set({ state: "live", heardAt: now });
  }

  #changed(): void {
    if (this.#drawing) return;
    this.#drawing = true;
    (this.options.schedule ?? beforeFrame)(() => {
      this.#drawing = false;
      this.view.set({ ...this.#state });
    });
  }
}

function empty(): LiveView {
  return {
    ready: false,
    acdOpen: false,
    agents: new Map(),
    interactions: new Map(),
    ended: new Map(),
    queues: new Map(),
    decisions: new Map(),
  };
}

function apply(state: LiveView, event: LiveEvent): void {
  switch (event.kind) {
    case "acd_changed":
      state.acdOpen = event.open;
      break;
    case "agent_changed":
      state.agents.set(event.agent.id, event.agent);
      break;
    case "agent_removed":
      state.agents.delete(event.agent);
      break;
    case "interaction_ended":
      state.interactions.delete(event.interaction.id);
      keepEnded(state, event.interaction);
      break;
    case "interaction_offered":
      if (event.decision) state.decisions.set(event.interaction.id, event.decision);
      state.interactions.set(event.interaction.id, event.interaction);
      break;
    case "interaction_changed":
      if (event.interaction.state.kind === "ended") keepEnded(state, event.interaction);
      else state.interactions.set(event.interaction.id, event.interaction);
      break;
    case "interaction_connected":
    case "interaction_queued":
      state.interactions.set(event.interaction.id, event.interaction);
      break;
    case "config_applied":
    case "offer_failed":
      break;
  }
}

function keepEnded(state: LiveView, interaction: Interaction): void {
  state.ended.delete(interaction.id);
  state.ended.set(interaction.id, interaction);
  for (const id of state.ended.keys()) {
    if (state.ended.size <= ENDED_KEPT) break;
    state.ended.delete(id);
    state.decisions.delete(id);
  }
}

function openSocket(url: string): Socket {
  return new WebSocket(url) as unknown as Socket;
}

/** Before the next frame; at once in a page that is not seen, whose frames never come. */
function beforeFrame(work: () => void): void {
  if (document.hidden) queueMicrotask(work);
  else requestAnimationFrame(work);
}

/** A WebSocket's address from one that may be only a path on the page's own host. */
export function socketUrl(url: string, page: string = location.href): string {
  const address = new URL(url, page);
  if (address.protocol === "http:") address.protocol = "ws:";
  if (address.protocol === "https:") address.protocol = "wss:";
  return address.href;
}

/** The live state of a session, told of everything that wakes a page. */
export function liveOf(api: Api, options: LiveOptions): Live {
  const live = new Live(async () => socketUrl((await api.get("/api/v1/websocket")).url), options);
  const check = () => live.check();
  for (const name of ["online", "pageshow", "focus"] as const) window.addEventListener(name, check);
  document.addEventListener("resume", check);
  document.addEventListener("visibilitychange", check);
  return live;
}
