import { describe, expect, it } from "vitest";
import { clockTime, dateTime, duration } from "./format";

describe("a duration", () => {
  it("is minutes and seconds, with hours from an hour on, and never negative", () => {
    expect([0, 9_999, 60_000, 3_599_999, 3_600_000, 3_727_000, -5].map(duration)).toEqual(["0:00", "0:09", "1:00", "59:59", "1:00:00", "1:02:07", "0:00"]);
  });
});

describe("a time of day", () => {
  /** 2026-10-25 in Berlin: 02:30 comes twice. */
  const before = Date.UTC(2026, 9, 25, 0, 30);
  it("is the zone's, on both sides of the change of the clocks", () => {
    expect(clockTime(before, false, "Europe/Berlin")).toBe("02:30");
    expect(clockTime(before + 3_600_000, false, "Europe/Berlin")).toBe("02:30");
    expect(clockTime(before + 7_200_000, true, "Europe/Berlin")).toBe("03:30:00");
  });
  it("counts to 23, also with its date", () => {
    expect(clockTime(Date.UTC(2026, 0, 1, 0, 5), false, "UTC")).toBe("00:05");
    expect(dateTime(Date.UTC(2026, 0, 1, 13, 5), "UTC")).toContain("13:05");
  });
});
