//! The phone of a browser, as the desk uses it. What is behind it can be replaced: `phone.contract.ts` says what it must do.

import type { Watched } from "../cell";

/** `lost`: it was registered and tries to be again. `refused`: the registrar does not take the credentials. */
export type PhoneHealth = "off" | "connecting" | "registered" | "lost" | "refused";

/** The one call of a phone. `healing`: the sound was cut and is being repaired. */
export interface PhoneCall {
  state: "ringing" | "answering" | "talking" | "healing";
  /** It asked to be answered by itself: its owner asked for the call. */
  automatic: boolean;
  muted: boolean;
  /** Since when it stands, by this computer's clock, milliseconds. */
  since: number;
}

/** The sound of the last seconds. */
export interface Quality {
  /** Milliseconds there and back; null: not measured. */
  rtt: number | null;
  /** Milliseconds. */
  jitter: number;
  /** Share of packets that did not come, 0 to 1. */
  loss: number;
  /** 1 to 4.4, estimated. */
  mos: number;
  /** Nothing comes in though the call stands. */
  silentIn: boolean;
  /** The microphone gives nothing at all. */
  silentOut: boolean;
}

export interface Credentials {
  user: string;
  realm: string;
  password: string;
  /** Unix milliseconds. */
  expires_at: number;
  websocket_urls: string[];
}

export interface Devices {
  /** Device ids; empty: the system's choice. */
  microphone: string;
  speaker: string;
}

export interface Phone {
  readonly health: Watched<PhoneHealth>;
  readonly call: Watched<PhoneCall | null>;
  readonly quality: Watched<Quality | null>;
  /** Registers and stays registered until `stop`. */
  start(credentials: Credentials): Promise<void>;
  /** New credentials, before the old ones end; a call goes on. */
  renew(credentials: Credentials): void;
  stop(): void;
  answer(): void;
  /** Ends the call, or refuses it. False: there is no way to say so now; the caller of this must say it otherwise. */
  hangUp(): boolean;
  mute(muted: boolean): void;
  use(devices: Devices): Promise<void>;
  /** The network changed: looks at the registration and the sound at once. */
  check(): void;
}
