//! Names: queues, agents and codes of a tenant, read once and again when the configuration changes. What a log-in may not read
//! stays empty, and its ids are shown without a name.

import { everything, Refusal, type Api, type Schemas } from "./api";
import { Cell } from "./cell";

export interface Colleague {
  id: string;
  name: string;
  /** What the colleague does, or else declares, when it was last asked; left out: not known. */
  presence?: string;
}

export interface Code {
  code: string;
  name: string;
  /** Shown with the choice; the form's fields. */
  fields: CodeField[];
  /** For these queues only; empty: for all. */
  queues: string[];
  /** Not longer than this, milliseconds; null: no limit. */
  limitMs: number | null;
}

export interface CodeField {
  key: string;
  label: string;
  kind: "text" | "number" | "date" | "choice" | "check";
  required: boolean;
  choices: string[];
}

export interface Names {
  queues: Map<string, Pick<Schemas["Queue"], "id" | "name"> & Partial<Schemas["Queue"]>>;
  agents: Map<string, Colleague>;
  /** Reasons of not-ready. */
  reasons: Code[];
  /** Results of an interaction. */
  results: Code[];
}

/** Reasons where the tenant has none of its own. */
const USUAL_REASONS = ["break", "lunch", "meeting", "training", "back_office"];
/** Results where the tenant has none of its own. */
const USUAL_RESULTS = ["solved", "follow_up", "wrong_number", "no_answer", "other"];

export class Directory {
  readonly names = new Cell<Names>({ queues: new Map(), agents: new Map(), reasons: usual(USUAL_REASONS), results: usual(USUAL_RESULTS) });

  constructor(
    private readonly api: Api,
    private readonly tenant: string,
    /** Whether this log-in may read the configuration itself; agents get names only. */
    private readonly configuration: boolean,
  ) {}

  /** Reads everything. */
  async read(): Promise<void> {
    const of = (path: string) => `/api/v1/tenants/${this.tenant}/${path}`;
    const [shared, queues, agents, reasons, results] = await Promise.all([
      this.configuration ? null : allowed(this.#shared()),
      this.configuration ? allowed(everything<Schemas["Queue"]>(this.api, of("queues"))) : null,
      this.configuration ? allowed(everything<Schemas["Agent"]>(this.api, of("agents"))) : null,
      allowed(everything<RawCode>(this.api, of("aux-codes"))),
      allowed(everything<RawCode>(this.api, of("disposition-codes"))),
    ]);
    this.names.set({
      queues: byId(queues ?? shared?.queues ?? []),
      agents: byId<Colleague>(agents ?? shared?.agents ?? []),
      reasons: reasons?.length ? reasons.map(code) : usual(USUAL_REASONS),
      results: results?.length ? results.map(code) : usual(USUAL_RESULTS),
    });
  }

  /** Asks what the colleagues do now. */
  async readPresence(): Promise<void> {
    const { agents } = await this.#shared();
    this.names.set({ ...this.names.value, agents: byId(agents) });
  }

  /** Queues and colleagues, as everybody at work may see them. */
  async #shared(): Promise<{ queues: Schemas["QueueName"][]; agents: Colleague[] }> {
    const agents: Colleague[] = [];
    let queues: Schemas["QueueName"][] = [];
    let cursor: string | undefined;
    do {
      const page = await this.api.get("/api/v1/tenants/{tenant}/directory", { tenant: this.tenant }, { query: { limit: 500, cursor } });
      queues = queues.length > 0 ? queues : page.queues;
      for (const { id, name, state, status } of page.agents) agents.push({ id, name, presence: state === "idle" ? String(status) : state });
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
    return { queues, agents };
  }
}

interface RawCode {
  code: string;
  name?: string;
  label?: string;
  limit_ms?: number | null;
  max_ms?: number | null;
  queues?: string[];
  queue?: string | null;
  fields?: { key?: string; name?: string; label?: string; kind?: string; type?: string; required?: boolean; choices?: string[]; options?: string[] }[];
}

function code(raw: RawCode): Code {
  const kinds: Record<string, CodeField["kind"]> = { number: "number", integer: "number", date: "date", choice: "choice", select: "choice", checkbox: "check", check: "check", boolean: "check" };
  return {
    code: raw.code,
    name: raw.name ?? raw.label ?? raw.code,
    limitMs: raw.limit_ms ?? raw.max_ms ?? null,
    queues: raw.queues ?? (raw.queue ? [raw.queue] : []),
    fields: (raw.fields ?? []).map((field) => ({
      key: field.key ?? field.name ?? "",
      label: field.label ?? field.name ?? field.key ?? "",
      kind: kinds[field.kind ?? field.type ?? ""] ?? "text",
      required: field.required ?? false,
      choices: field.choices ?? field.options ?? [],
    })),
  };
}

const usual = (codes: string[]): Code[] => codes.map((code) => ({ code, name: "", fields: [], queues: [], limitMs: null }));

const byId = <T extends { id: string }>(items: T[]): Map<string, T> => new Map(items.map((item) => [item.id, item]));

/** Nothing, where the role does not suffice or this server has no such route. */
async function allowed<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof Refusal && (error.status === 403 || error.status === 404)) return null;
    throw error;
  }
}
