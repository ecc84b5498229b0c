//! The phone by JsSIP. JsSIP ends a call when its sound fails or when a request of it stays unanswered; here such a call goes on
//! and is repaired, since the sound may well be there: `terminate` is guarded from outside, without a changed copy of JsSIP.

import JsSIP from "jssip";
import { Cell } from "../cell";
import { socketUrl } from "../live";
import type { Credentials, Devices, Phone, PhoneCall, PhoneHealth, Quality } from "./phone";
import { quality } from "./quality";

/** How often the sound is measured, milliseconds. */
const MEASURE_MS = 1_000;
/** From this long without a usable path the sound is renewed, milliseconds. */
const HEAL_AFTER_MS = 2_000;
/** The longest wait for network addresses before the answer, milliseconds. */
const GATHER_MS = 500;

type Session = import("jssip/lib/RTCSession").RTCSession;

export class JsSipPhone implements Phone {
  readonly health = new Cell<PhoneHealth>("off");
  readonly call = new Cell<PhoneCall | null>(null);
  readonly quality = new Cell<Quality | null>(null);

  #agent: JsSIP.UA | null = null;
  #credentials: Credentials | null = null;
  #session: Session | null = null;
  #ours = false;
  #muted = false;
  #devices: Devices = { microphone: "", speaker: "" };
  readonly #audio = new Audio();
  #measuring: ReturnType<typeof setInterval> | undefined;
  #healing: ReturnType<typeof setTimeout> | undefined;
  #report: RTCStatsReport | null = null;

  constructor() {
    this.#audio.autoplay = true;
  }

  async start(credentials: Credentials): Promise<void> {
    this.stop();
    this.#credentials = credentials;
    this.health.set("connecting");
    const agent = new JsSIP.UA({
      sockets: credentials.websocket_urls.map((url) => new JsSIP.WebSocketInterface(socketUrl(url))),
      uri: `sip:${credentials.user}@${credentials.realm}`,
      password: credentials.password,
      register_expires: 600,
      session_timers: false,
      connection_recovery_min_interval: 1,
      connection_recovery_max_interval: 8,
      user_agent: "Ringdown console",
    });
    this.#agent = agent;
    // An agent that was stopped still says good-bye; nobody listens.
    const current = (act: () => void) => () => {
      if (this.#agent === agent) act();
    };
    agent.on("registered", current(() => this.health.set("registered")));
    agent.on("registrationFailed", ({ response }) => {
      const refused = response !== undefined && response !== null && [401, 403, 404].includes(response.status_code);
      current(() => this.health.set(refused ? "refused" : "lost"))();
    });
    agent.on("unregistered", current(() => this.#lost()));
    agent.on("disconnected", current(() => this.#lost()));
    agent.on("newRTCSession", ({ originator, session }: { originator: string; session: Session }) => {
      if (originator === "remote") current(() => this.#ring(session))();
    });
    agent.start();
  }

  renew(credentials: Credentials): void {
    const same = credentials.user === this.#credentials?.user && this.#agent !== null;
    if (!same) {
      // Another user name is another registration; a call must not be cut for it.
      if (this.#session === null) void this.start(credentials);
      return;
    }
    this.#credentials = credentials;
    this.#agent?.set("password", credentials.password);
  }

  stop(): void {
    const agent = this.#agent;
    this.#agent = null;
    this.#ours = true;
    agent?.stop();
    this.health.set("off");
    this.#over();
  }

  answer(): void {
    const session = this.#session;
    if (session === null || this.call.value?.state !== "ringing") return;
    this.#tell({ state: "answering" });
    const { microphone } = this.#devices;
    const audio: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    if (microphone !== "") audio.deviceId = { ideal: microphone };
    session.answer({ mediaConstraints: { audio, video: false } });
  }

  hangUp(): boolean {
    const session = this.#session;
    if (session === null) return false;
    const reachable = this.health.value === "registered";
    this.#end(session);
    return reachable;
  }

  mute(muted: boolean): void {
    this.#muted = muted;
    if (muted) this.#session?.mute({ audio: true });
    else this.#session?.unmute({ audio: true });
    if (this.call.value !== null) this.#tell({ muted });
  }

  async use(devices: Devices): Promise<void> {
    const changed = devices.microphone !== this.#devices.microphone;
    this.#devices = devices;
    // A device that is gone leaves the sound where it is.
    await this.#audio.setSinkId?.(devices.speaker).catch(() => undefined);
    const sender = this.#session?.connection?.getSenders().find((candidate) => candidate.track?.kind === "audio");
    if (!changed || sender === undefined) return;
    const audio: MediaTrackConstraints = devices.microphone === "" ? {} : { deviceId: { exact: devices.microphone } };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    const track = stream.getAudioTracks()[0];
    if (track === undefined) return;
    track.enabled = !this.#muted;
    sender.track?.stop();
    await sender.replaceTrack(track);
  }

  check(): void {
    const agent = this.#agent;
    if (agent === null) return;
    if (agent.isConnected()) agent.register();
    else agent.start();
    if (this.#session?.connection && unusable(this.#session.connection)) this.#heal();
  }

  #lost(): void {
    if (this.health.value === "registered" || this.health.value === "connecting") this.health.set("lost");
  }

  #ring(session: Session): void {
    if (this.#session !== null) {
      session.terminate({ status_code: 486 });
      return;
    }
    this.#session = session;
    this.#ours = false;
    this.#guard(session);
    session.on("accepted", () => this.#tell({ state: "talking", since: Date.now() }));
    session.on("ended", () => this.#over(session));
    session.on("failed", () => this.#over(session));
    let gathered = false;
    session.on("icecandidate", ({ candidate, ready }: { candidate: RTCIceCandidate; ready: () => void }) => {
      if (gathered) return;
      gathered = true;
      if (candidate.type === "host" || candidate.type === "srflx" || candidate.type === "relay") ready();
      else setTimeout(ready, GATHER_MS);
    });
    session.on("peerconnection", ({ peerconnection }: { peerconnection: RTCPeerConnection }) => this.#listen(peerconnection));
    this.call.set({ state: "ringing", automatic: automatic(session), muted: false, since: Date.now() });
  }

  /** JsSIP's own decision to end the call becomes a repair. */
  #guard(session: Session): void {
    const terminate = session.terminate.bind(session);
    session.terminate = (options) => {
      if (this.#ours || this.call.value === null || ["ringing", "answering"].includes(this.call.value.state)) terminate(options);
      else this.#heal();
    };
  }

  #end(session: Session): void {
    this.#ours = true;
    try {
      session.terminate();
    } catch {
      // It is over already.
    }
    this.#over(session);
  }

  #listen(connection: RTCPeerConnection): void {
    connection.addEventListener("track", ({ streams, track }) => {
      this.#audio.srcObject = streams[0] ?? new MediaStream([track]);
      void this.#audio.play().catch(() => undefined);
    });
    connection.addEventListener("iceconnectionstatechange", () => {
      clearTimeout(this.#healing);
      if (unusable(connection)) this.#healing = setTimeout(() => this.#heal(), HEAL_AFTER_MS);
      else if (this.call.value?.state === "healing") this.#tell({ state: "talking" });
    });
    this.#measuring = setInterval(() => void this.#measure(connection), MEASURE_MS);
  }

  /** Looks for a new path for the sound within the same call. */
  #heal(): void {
    const session = this.#session;
    if (session === null || this.call.value === null) return;
    this.#tell({ state: "healing" });
    if (this.#agent?.isConnected()) session.renegotiate({ rtcOfferConstraints: { iceRestart: true } });
  }

  async #measure(connection: RTCPeerConnection): Promise<void> {
    if (connection.signalingState === "closed") return;
    const report = await connection.getStats();
    if (this.#report !== null) this.quality.set(quality(this.#report, report));
    this.#report = report;
  }

  #tell(changes: Partial<PhoneCall>): void {
    const call = this.call.value;
    if (call !== null) this.call.set({ ...call, ...changes });
  }

  #over(session: Session | null = this.#session): void {
    if (session !== this.#session) return;
    clearInterval(this.#measuring);
    clearTimeout(this.#healing);
    this.#session = null;
    this.#report = null;
    this.#muted = false;
    this.#audio.srcObject = null;
    this.quality.set(null);
    if (this.call.value !== null) this.call.set(null);
  }
}

function unusable(connection: RTCPeerConnection): boolean {
  return connection.iceConnectionState === "disconnected" || connection.iceConnectionState === "failed";
}

/** The call asks the phone to answer by itself (`Call-Info: ...;answer-after=0`). */
function automatic(session: Session): boolean {
  const request = (session as unknown as { _request?: { getHeader(name: string): string | undefined } })._request;
  return /answer-after=0/.test(request?.getHeader("Call-Info") ?? "");
}
