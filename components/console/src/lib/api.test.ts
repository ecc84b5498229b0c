import { describe, expect, it } from "vitest";
import { Api, everything, fill, Refusal } from "./api";

type Asked = { url: string; init: RequestInit };

/** A server that answers one after the other. */
function serving(...answers: (() => Response)[]): { api: Api; asked: Asked[] } {
  const asked: Asked[] = [];
  const send = (async (url: string, init: RequestInit) => {
    asked.push({ url, init });
    const answer = answers[Math.min(asked.length - 1, answers.length - 1)];
    if (answer === undefined) throw new Error("no answer");
    return answer();
  }) as unknown as typeof fetch;
  return { api: new Api(send, async () => undefined), asked };
}
const problem = (status: number, code: string, errors: unknown[] = []) => () =>
  new Response(JSON.stringify({ status, code, detail: code, errors }), { status });
const good = (body: unknown, headers = {}) => () => new Response(JSON.stringify(body), { status: 200, headers });
const header = (asked: Asked | undefined, name: string) => new Headers(asked?.init.headers).get(name);

describe("the client", () => {
  it("repeats a write whose outcome is unknown with the same key", async () => {
    const { api, asked } = serving(problem(504, "outcome_unknown"), good({ id: "x" }));
    expect(await api.ask("POST", "/api/v1/x", {})).toEqual({ id: "x" });
    const keys = asked.map((one) => header(one, "Idempotency-Key"));
    expect(keys[0]).toBeTruthy();
    expect(keys[0]).toBe(keys[1]);
  });

  it("gives up after three repeats", async () => {
    const { api, asked } = serving(problem(504, "outcome_unknown"));
    await expect(api.ask("POST", "/api/v1/x", {})).rejects.toMatchObject({ code: "outcome_unknown" });
    expect(asked.length).toBe(4);
  });

  it("never repeats a refusal, and keeps its fields", async () => {
    const { api, asked } = serving(problem(422, "invalid", [{ field: "name", reason: "empty" }]));
    const refusal = await api.ask("POST", "/api/v1/x", {}).catch((error: unknown) => error as Refusal);
    expect(refusal).toMatchObject({ status: 422, errors: [{ field: "name", reason: "empty" }] });
    expect(asked.length).toBe(1);
  });

  it("sends the session's token with writes only", async () => {
    const { api, asked } = serving(good({}));
    api.csrf = "secret";
    await api.ask("GET", "/api/v1/x");
    await api.ask("DELETE", "/api/v1/x");
    expect(header(asked[0], "X-Ringdown-Csrf")).toBeNull();
    expect(header(asked[1], "X-Ringdown-Csrf")).toBe("secret");
  });

  it("reads a list to its end", async () => {
    const { api } = serving(good({ items: [1, 2], next_cursor: "n" }), good({ items: [3] }));
    expect(await everything(api, "/api/v1/x")).toEqual([1, 2, 3]);
  });

  it("fills places of a path, escaped", () => {
    expect(fill("/a/{b}/c", { b: "x/y" })).toBe("/a/x%2Fy/c");
  });
});
