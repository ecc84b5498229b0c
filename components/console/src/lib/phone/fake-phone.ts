//! A phone without a network, for tests of what uses one. It keeps the same contract as the real one.

import { Cell } from "../cell";
import type { Credentials, Devices, Phone, PhoneCall, PhoneHealth, Quality } from "./phone";

export class FakePhone implements Phone {
  readonly health = new Cell<PhoneHealth>("off");
  readonly call = new Cell<PhoneCall | null>(null);
  readonly quality = new Cell<Quality | null>(null);
  devices: Devices = { microphone: "", speaker: "" };

  async start(_credentials: Credentials): Promise<void> {
    this.health.set("connecting");
    await Promise.resolve();
    this.health.set("registered");
  }

  renew(_credentials: Credentials): void {
    // The fake registrar takes any.
  }

  stop(): void {
    this.call.set(null);
    this.health.set("off");
  }

  /** The other side calls. */
  ring(automatic = false): void {
    if (this.call.value === null) this.call.set({ state: "ringing", automatic, muted: false, since: Date.now() });
  }

  /** The other side hangs up. */
  remoteHangUp(): void {
    this.call.set(null);
  }

  /** The signalling is cut; the sound goes on. */
  cut(): void {
    this.health.set("lost");
  }

  answer(): void {
    const call = this.call.value;
    if (call?.state === "ringing") this.call.set({ ...call, state: "talking", since: Date.now() });
  }

  hangUp(): boolean {
    const had = this.call.value !== null;
    this.call.set(null);
    return had && this.health.value === "registered";
  }

  mute(muted: boolean): void {
    if (this.call.value !== null) this.call.set({ ...this.call.value, muted });
  }

  async use(devices: Devices): Promise<void> {
    this.devices = devices;
    await Promise.resolve();
  }

  check(): void {
    if (this.health.value === "lost") this.health.set("registered");
  }
}
