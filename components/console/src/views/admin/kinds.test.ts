import { describe, expect, it } from "vitest";
import { changesOf, KINDS } from "./kinds";

const fieldsOf = (key: string) => KINDS.find((kind) => kind.key === key)?.fields ?? [];

describe("what a form sends", () => {
  it("is what differs, and nothing else", () => {
    const before = { name: "Sales", priority: 0, wait_limit_ms: 60_000, requirements: [{ skill: "en", min_level: 1 }] };
    const now = { ...before, priority: 5, wait_limit_ms: "" };
    expect(changesOf(fieldsOf("queues"), before, now)).toEqual({ priority: 5, wait_limit_ms: null });
  });

  it("never holds a password that was not typed, nor what cannot be changed", () => {
    const before = { login: "ada", name: "Ada", role: "agent", agent: "a" };
    expect(changesOf(fieldsOf("users"), before, { ...before, login: "other", password: "" })).toEqual({});
    expect(changesOf(fieldsOf("users"), before, { ...before, password: "long enough" })).toEqual({ password: "long enough" });
  });

  it("of a new object leaves out what is empty", () => {
    expect(changesOf(fieldsOf("routes"), null, { did: "100", queue: "q", trunk: "" })).toEqual({ did: "100", queue: "q" });
  });

  it("keeps an emptied prefix empty instead of null", () => {
    const before = { national_prefix: "0" };
    expect(changesOf(fieldsOf("trunks"), before, { national_prefix: "" })).toEqual({ national_prefix: "" });
  });
});
