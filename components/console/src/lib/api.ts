//! The REST client: typed paths, the cross-site token, problem documents, idempotency keys, and the one repeat that is safe.

import type { components, paths } from "../generated/api";

export type Schemas = components["schemas"];
type Method = "get" | "post" | "put" | "patch" | "delete";

type Content<T> = T extends { content: infer C } ? C[keyof C] : undefined;
type Good = 200 | 201 | 202 | 204;
/** What a route answers when it goes well. */
export type Answer<P extends keyof paths, M extends Method> = M extends keyof paths[P]
  ? paths[P][M] extends { responses: infer R }
    ? Content<R[Extract<keyof R, Good>]>
    : never
  : never;
/** What a route takes. */
export type Body<P extends keyof paths, M extends Method> = M extends keyof paths[P]
  ? paths[P][M] extends { requestBody?: infer B }
    ? Content<NonNullable<B>>
    : undefined
  : never;

/** A field the server does not accept. */
export interface FieldFault {
  field: string;
  reason: string;
}

/** A refusal (RFC 9457), or no answer at all (`code` = `no_answer`). */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly errors: readonly FieldFault[] = [],
  ) {
    super(detail);
  }
}

export interface Options {
  query?: Record<string, string | number | boolean | undefined>;
  /** The version that is changed; else somebody else's change is overwritten. */
  ifMatch?: string;
  /** Makes a repeat of the same act the same act; one is made for every write that brings none. */
  key?: string;
  signal?: AbortSignal;
  /** Answers at once: a page that is being closed does not wait. */
  keepalive?: boolean;
}

/** An answer with the version it has. */
export interface Versioned<T> {
  body: T;
  etag: string | null;
  /** Whether the router already works by it; null where the route does not say. */
  applied: boolean | null;
}

/** Pauses between repeats of a write whose outcome is unknown, milliseconds. After the last one the refusal stands. */
const REPEATS_MS = [300, 1_000, 3_000];

export class Api {
  /** The session's cross-site token; set after the log-in. */
  csrf: string | null = null;
  /** Called when the server no longer knows the session. */
  onSignedOut: (() => void) | null = null;

  constructor(
    private readonly send: typeof fetch = (input, init) => fetch(input, init),
    private readonly pause: (ms: number) => Promise<void> = (ms) => new Promise((done) => setTimeout(done, ms)),
  ) {}

  get<P extends keyof paths>(path: P, parts: Record<string, string> = {}, options: Options = {}): Promise<Answer<P, "get">> {
    return this.ask("GET", fill(path, parts), undefined, options);
  }

  post<P extends keyof paths>(path: P, parts: Record<string, string>, body?: Body<P, "post">, options: Options = {}): Promise<Answer<P, "post">> {
    return this.ask("POST", fill(path, parts), body ?? {}, options);
  }

  put<P extends keyof paths>(path: P, parts: Record<string, string>, body: Body<P, "put">, options: Options = {}): Promise<Answer<P, "put">> {
    return this.ask("PUT", fill(path, parts), body, options);
  }

  delete<P extends keyof paths>(path: P, parts: Record<string, string>, options: Options = {}): Promise<Answer<P, "delete">> {
    return this.ask("DELETE", fill(path, parts), undefined, options);
  }

  /** Any request below `/api/v1`: the body of the answer. */
  async ask<T>(method: string, path: string, body?: unknown, options: Options = {}): Promise<T> {
    return (await this.versioned<T>(method, path, body, options)).body;
  }

  /** Any request below `/api/v1`: the answer with its version. @throws {Refusal} */
  async versioned<T>(method: string, path: string, body?: unknown, options: Options = {}): Promise<Versioned<T>> {
    const write = method !== "GET";
    const key = write ? (options.key ?? crypto.randomUUID()) : undefined;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.once<T>(method, path, body, options, key);
      } catch (error) {
        const pause = REPEATS_MS[attempt];
        const unknown = error instanceof Refusal && (error.code === "outcome_unknown" || error.code === "no_answer");
        if (!unknown || pause === undefined || options.signal?.aborted) throw error;
        await this.pause(pause);
      }
    }
  }

  private async once<T>(method: string, path: string, body: unknown, options: Options, key: string | undefined): Promise<Versioned<T>> {
    const headers = new Headers({ Accept: "application/json" });
    if (body !== undefined) headers.set("Content-Type", method === "PATCH" ? "application/merge-patch+json" : "application/json");
    if (key !== undefined) headers.set("Idempotency-Key", key);
    if (key !== undefined && this.csrf !== null) headers.set("X-Ringdown-Csrf", this.csrf);
    if (options.ifMatch !== undefined) headers.set("If-Match", options.ifMatch);
    const init: RequestInit = { method, headers, credentials: "same-origin", cache: "no-store" };
    if (body !== undefined) init.body = JSON.stringify(body);
    if (options.signal) init.signal = options.signal;
    if (options.keepalive) init.keepalive = true;
    const answer = await this.send(path + query(options.query), init).catch((error: unknown) => {
      if (options.signal?.aborted) throw error;
      throw new Refusal(0, "no_answer", "the server does not answer");
    });
    if (!answer.ok) throw await this.refusal(answer);
    const applied = answer.headers.get("Ringdown-Config-Applied");
    const text = await answer.text();
    return {
      body: (text === "" ? undefined : JSON.parse(text)) as T,
      etag: answer.headers.get("ETag"),
      applied: applied === null ? null : applied === "true",
    };
  }

  private async refusal(answer: Response): Promise<Refusal> {
    const problem = (await answer.json().catch(() => ({}))) as Partial<Schemas["Problem"]>;
    const code = problem.code ?? `http_${answer.status}`;
    if (answer.status === 401 && this.csrf !== null) this.onSignedOut?.();
    return new Refusal(answer.status, code, problem.detail ?? answer.statusText, problem.errors ?? []);
  }
}

/** Puts the parts into a path's places. */
export function fill(path: string, parts: Record<string, string>): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(parts[name] ?? ""));
}

function query(given: Options["query"]): string {
  const set = Object.entries(given ?? {}).filter(([, value]) => value !== undefined);
  return set.length === 0 ? "" : `?${new URLSearchParams(set.map(([name, value]) => [name, String(value)])).toString()}`;
}

/** Every item of a list, page after page; at most `most`. */
export async function everything<T>(api: Api, path: string, asked: Options["query"] = {}, most = 20_000): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const page: { items: T[]; next_cursor?: string | null } = await api.ask("GET", path, undefined, { query: { limit: 500, ...asked, cursor } });
    items.push(...page.items);
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined && items.length < most);
  return items;
}
