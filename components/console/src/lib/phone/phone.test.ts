import { describe, expect, it } from "vitest";
import { FakePhone } from "./fake-phone";
import { mos, quality } from "./quality";

const credentials = { user: "u", realm: "r", password: "p", expires_at: 0, websocket_urls: ["wss://x"] };

describe("a phone", () => {
  it("registers, takes one call at a time and forgets the mute of the last one", async () => {
    const phone = new FakePhone();
    await phone.start(credentials);
    expect(phone.health.value).toBe("registered");
    phone.ring();
    phone.answer();
    phone.mute(true);
    expect(phone.call.value).toMatchObject({ state: "talking", muted: true });
    phone.remoteHangUp();
    phone.ring(true);
    expect(phone.call.value).toMatchObject({ state: "ringing", automatic: true, muted: false });
  });

  it("says when it cannot tell the other side that it hangs up", async () => {
    const phone = new FakePhone();
    await phone.start(credentials);
    phone.ring();
    phone.answer();
    phone.cut();
    expect(phone.hangUp()).toBe(false);
  });
});

const report = (...entries: Record<string, unknown>[]) => new Map(entries.map((entry, at) => [String(at), entry])) as unknown as RTCStatsReport;
const inbound = (received: number, lost: number) => ({ type: "inbound-rtp", kind: "audio", packetsReceived: received, packetsLost: lost, jitter: 0.01, bytesReceived: received * 160 });

describe("the sound's quality", () => {
  it("is good on a good line and bad with loss", () => {
    expect(mos(40, 5, 0)).toBeGreaterThan(4.2);
    expect(mos(40, 5, 0.1)).toBeLessThan(3.6);
  });

  it("sees a line on which nothing comes in", () => {
    expect(quality(report(inbound(100, 0)), report(inbound(100, 0))).silentIn).toBe(true);
    const lossy = quality(report(inbound(100, 0)), report(inbound(190, 10)));
    expect(lossy.silentIn).toBe(false);
    expect(lossy.loss).toBeCloseTo(0.1);
  });
});
