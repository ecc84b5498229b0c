//! The agent's desk without its looks: start of work, the phone, the agent's own interaction, and every act on it. Views read
//! its cells and call its methods. What it shows is the router's truth; an act is pending until the router has said so.

import { Refusal, type Api, type Schemas } from "./api";
import { Cell } from "./cell";
import { deviceChoice, type DeviceChoice } from "./devices";
import type { Key } from "./i18n";
import { type Engagement, type Interaction, type Live, type LiveAgent, type LiveEvent, type LiveView } from "./live";
import { PhoneOwner } from "./owner";
import type { Credentials, Phone } from "./phone/phone";
import { Sounds } from "./sounds";

/** `here`: this tab has the phone; `elsewhere`: another tab of this browser; `desk`: the agent's own telephone. */
export type PhonePlace = "none" | "here" | "elsewhere" | "desk";

export interface Work {
  phase: "off" | "starting" | "on";
  place: PhonePlace;
  /** Why the start did not work. */
  fault: StartFault | null;
  /** Sounds can be heard. */
  sound: boolean;
}
export type StartFault = "microphone_denied" | "microphone_missing" | "no_credentials" | "not_registered" | "no_sound";

/** Something that went wrong, or that the agent should know, with its remedy. */
export interface Notice {
  text: Key;
  places?: Record<string, string>;
  tone: "bad" | "warn" | "notice";
  detail?: string;
}

/** What the agent has in hand. */
export interface InHand {
  engagement: Engagement;
  interaction: Interaction | null;
}

export type Target = Schemas["TargetInput"];

/** How long registering may take, milliseconds. */
const REGISTER_MS = 10_000;
/** After this a hang-up that the phone could not say is said by REST, milliseconds. */
const HANG_UP_MS = 700;
/** Between the tone of a call that answers itself and the microphone, milliseconds. */
const TONE_MS = 350;
const AT_WORK = "ringdown.at_work";
const DESK_PHONE = "ringdown.desk_phone";

export class Desk {
  readonly work = new Cell<Work>({ phase: "off", place: "none", fault: null, sound: false });
  readonly inHand = new Cell<InHand | null>(null);
  readonly me = new Cell<LiveAgent | null>(null);
  /** Names of acts that wait for the router. */
  readonly pending = new Cell<ReadonlySet<string>>(new Set());
  readonly notice = new Cell<Notice | null>(null);
  readonly phone = new Cell<Phone | null>(null);
  readonly sounds = new Sounds();
  readonly owner = new PhoneOwner();

  #renewal: ReturnType<typeof setTimeout> | undefined;
  #endings: (() => void)[] = [];
  #notification: Notification | null = null;

  constructor(
    readonly api: Api,
    readonly tenant: string,
    readonly agent: string,
    readonly live: Live,
    private readonly makePhone: () => Promise<Phone>,
  ) {
    live.view.subscribe((view) => this.#look(view));
    live.onEvent.add((event) => this.#hear(event));
    this.owner.onCommand = (command) => {
      if (command === "answer") this.answer();
      if (command === "hang_up") void this.hangUp();
      if (command === "mute" || command === "unmute") void this.mute(command === "mute");
    };
    this.owner.owned.subscribe((owned) => {
      if (!owned && this.work.value.place === "here") this.#leavePhone("elsewhere");
      if (owned && this.work.value.place === "elsewhere") void this.#takePhone();
    });
    window.addEventListener("online", () => this.phone.value?.check());
    document.addEventListener("resume", () => this.phone.value?.check());
  }

  /** The agent works with a telephone on the desk; this browser then has none. */
  get deskPhone(): boolean {
    return localStorage.getItem(DESK_PHONE) === "yes";
  }

  set deskPhone(wanted: boolean) {
    localStorage.setItem(DESK_PHONE, wanted ? "yes" : "no");
  }

  /** Whether this browser was at work when its page went away. */
  get wasAtWork(): boolean {
    return localStorage.getItem(AT_WORK) === this.agent;
  }

  // Start and end of work.

  /** Within a gesture: sound, microphone, registration; then the status, if wanted. */
  async startWork(ready: boolean): Promise<void> {
    this.work.set({ phase: "starting", place: "none", fault: null, sound: false });
    const sound = await this.sounds.wake();
    this.sounds.play("test");
    if (this.deskPhone) {
      this.work.set({ phase: "on", place: "desk", fault: null, sound });
    } else {
      const fault = await askMicrophone();
      if (fault !== null) return this.#failStart(fault, sound);
      if (await this.owner.claim()) {
        const failed = await this.#register();
        if (failed !== null) return this.#failStart(failed, sound);
        this.work.set({ phase: "on", place: "here", fault: null, sound });
      } else this.work.set({ phase: "on", place: "elsewhere", fault: null, sound });
    }
    localStorage.setItem(AT_WORK, this.agent);
    if (ready) await this.setStatus("ready");
  }

  /** After a reload: everything that needs no gesture. False: a gesture is needed. */
  async resumeWork(): Promise<boolean> {
    if (!this.wasAtWork) return false;
    if (!this.deskPhone) {
      const permission = await navigator.permissions.query({ name: "microphone" as PermissionName }).catch(() => null);
      if (permission?.state !== "granted") return false;
    }
    await this.startWork(false);
    return this.work.value.phase === "on";
  }

  /** The ring can be heard from now on; within a gesture. */
  async wakeSound(): Promise<void> {
    const sound = await this.sounds.wake();
    this.work.set({ ...this.work.value, sound });
  }

  /** Takes the phone from the tab of this browser that has it. */
  async movePhoneHere(): Promise<void> {
    await this.owner.steal();
    await this.#takePhone();
  }

  async endWork(): Promise<void> {
    await this.setStatus("logged_out");
    localStorage.removeItem(AT_WORK);
    this.#leavePhone("none");
    this.owner.release();
    this.work.set({ phase: "off", place: "none", fault: null, sound: this.sounds.awake });
  }

  async useDevices(choice: DeviceChoice): Promise<void> {
    await this.sounds.useDevice(choice.ringer);
    this.sounds.volume = choice.volume;
    await this.phone.value?.use(choice);
  }

  // Acts. Each is named, so that its button shows that it waits.

  setStatus(status: "ready" | "not_ready" | "logged_out", reason?: string): Promise<void> {
    const body = reason === undefined ? { status } : { status, reason };
    return this.#act(`status`, () => this.api.put("/api/v1/tenants/{tenant}/agents/{agent}/status", this.#own(), body));
  }

  answer(): void {
    const hand = this.inHand.value;
    if (this.work.value.place === "elsewhere") this.owner.ask("answer");
    const voice = hand?.interaction?.media !== "task";
    if (voice) this.phone.value?.answer();
    else if (hand?.engagement.offer) {
      const offer = hand.engagement.offer;
      void this.#act("answer", () => this.#post("accept", { offer }, hand.engagement.interaction));
    }
  }

  /** Refuses the offer; it goes to the next agent at once. */
  reject(): Promise<void> {
    const hand = this.inHand.value;
    const offer = hand?.engagement.offer;
    if (!hand || !offer) return Promise.resolve();
    return this.#act("reject", () => this.#post("reject", { offer }, hand.engagement.interaction));
  }

  /** By the phone; by REST where the phone cannot say it, or the call has not ended a moment later. */
  async hangUp(): Promise<void> {
    const hand = this.inHand.value;
    const told = this.phone.value?.hangUp() ?? false;
    if (hand === null) return;
    const { interaction } = hand.engagement;
    const over = () => !["talking", "held"].includes(this.#engagementOf(interaction)?.state ?? "gone");
    if (told && (await this.#until(over, HANG_UP_MS))) return;
    await this.#act("hang_up", () => this.#post("end", {}, interaction));
  }

  async mute(muted: boolean): Promise<void> {
    if (this.work.value.place === "elsewhere") this.owner.ask(muted ? "mute" : "unmute");
    else if (this.phone.value) this.phone.value.mute(muted);
    else await this.#act("mute", () => this.#post(muted ? "mute" : "unmute"));
  }

  hold(held: boolean): Promise<void> {
    return this.#act("hold", () => this.#post(held ? "hold" : "resume"));
  }

  digits(digits: string): Promise<void> {
    return this.#act("digits", () => this.#post("digits", { digits }));
  }

  transfer(target: Target): Promise<void> {
    return this.#act("transfer", () => this.#post("transfer", { target }));
  }

  consult(target: Target): Promise<void> {
    return this.#act("consult", () => this.#post("consult", { target }));
  }

  endConsult(how: "complete" | "conference" | "cancel"): Promise<void> {
    return this.#act("consult", () => this.#post(`consult/${how}`));
  }

  record(action: Schemas["RecordingAction"]): Promise<void> {
    return this.#act("record", () => this.#post("recording", { action }));
  }

  call(to: { number: string } | { agent: string }): Promise<void> {
    return this.#act("dial", () => this.api.post("/api/v1/tenants/{tenant}/agents/{agent}/calls", this.#own(), to));
  }

  extendWrapUp(byMs: number): Promise<void> {
    return this.#act("extend", () => this.api.post("/api/v1/tenants/{tenant}/agents/{agent}/extend-wrap-up", this.#own(), { by_ms: byMs }));
  }

  finishWrapUp(): Promise<void> {
    return this.#act("finish", () => this.api.post("/api/v1/tenants/{tenant}/agents/{agent}/finish-wrap-up", this.#own()));
  }

  /** How the interaction is classed. @throws {Refusal} with the fields that are not accepted. */
  async saveResult(interaction: string, result: Schemas["DispositionInput"]): Promise<void> {
    await this.api.put("/api/v1/tenants/{tenant}/interactions/{interaction}/disposition", { tenant: this.tenant, interaction }, result);
  }

  // Inside.

  #own(): { tenant: string; agent: string } {
    return { tenant: this.tenant, agent: this.agent };
  }

  #post(act: string, body: unknown = {}, interaction = this.inHand.value?.engagement.interaction ?? ""): Promise<unknown> {
    return this.api.ask("POST", `/api/v1/tenants/${this.tenant}/interactions/${interaction}/${act}`, body);
  }

  async #act(name: string, send: () => Promise<unknown>): Promise<void> {
    if (this.pending.value.has(name)) return;
    this.pending.set(new Set([...this.pending.value, name]));
    this.notice.set(null);
    try {
      await send();
    } catch (error) {
      this.notice.set(noticeOf(error));
    } finally {
      this.pending.set(new Set([...this.pending.value].filter((other) => other !== name)));
    }
  }

  #failStart(fault: StartFault, sound: boolean): void {
    this.#leavePhone("none");
    this.owner.release();
    this.work.set({ phase: "off", place: "none", fault, sound });
  }

  async #takePhone(): Promise<void> {
    const failed = await this.#register();
    const sound = await this.sounds.wake();
    if (failed === null) this.work.set({ phase: "on", place: "here", fault: null, sound });
    else this.#failStart(failed, sound);
  }

  async #register(): Promise<StartFault | null> {
    const credentials = await this.#credentials();
    if (credentials === null) return "no_credentials";
    this.#leavePhone("none");
    const phone = await this.makePhone();
    this.phone.set(phone);
    this.#watch(phone);
    const choice = deviceChoice();
    await this.useDevices(choice);
    await phone.start(credentials);
    const registered = await new Promise<boolean>((answer) => {
      const late = setTimeout(() => answer(false), REGISTER_MS);
      this.#endings.push(
        phone.health.subscribe((health) => {
          if (health === "registered" || health === "refused") {
            clearTimeout(late);
            answer(health === "registered");
          }
        }),
      );
    });
    this.#renewLater(credentials);
    return registered ? null : "not_registered";
  }

  async #credentials(): Promise<Credentials | null> {
    try {
      return await this.api.post("/api/v1/tenants/{tenant}/agents/{agent}/phone-credentials", this.#own());
    } catch {
      return null;
    }
  }

  /** New credentials at half of the old ones' life. */
  #renewLater(credentials: Credentials): void {
    clearTimeout(this.#renewal);
    const left = credentials.expires_at - this.live.clock.now();
    this.#renewal = setTimeout(() => {
      void this.#credentials().then((fresh) => {
        if (fresh !== null) this.phone.value?.renew(fresh);
        this.#renewLater(fresh ?? { ...credentials, expires_at: this.live.clock.now() + 60_000 });
      });
    }, Math.max(10_000, left / 2));
  }

  #watch(phone: Phone): void {
    this.#endings.push(
      phone.call.subscribe((call) => {
        if (call?.state === "ringing" && call.automatic) this.#answerByItself(phone);
        this.#ring();
      }),
    );
    let before = "off";
    this.#endings.push(
      phone.health.subscribe((health) => {
        if (health === "lost" && before === "registered") this.sounds.play("lost");
        before = health;
      }),
    );
  }

  /** The agent asked for this call: a tone, then the microphone. */
  #answerByItself(phone: Phone): void {
    this.sounds.play("beep");
    setTimeout(() => phone.answer(), TONE_MS);
  }

  #leavePhone(place: PhonePlace): void {
    clearTimeout(this.#renewal);
    for (const end of this.#endings.splice(0)) end();
    this.phone.value?.stop();
    this.phone.set(null);
    this.sounds.stopRing();
    if (this.work.value.phase === "on") this.work.set({ ...this.work.value, place });
  }

  #look(view: LiveView): void {
    const me = view.agents.get(this.agent) ?? null;
    const engagement = me === null ? undefined : foremost(this.#withoutOwnConsult(me.engagements, view));
    const hand = engagement === undefined ? null : { engagement, interaction: view.interactions.get(engagement.interaction) ?? view.ended.get(engagement.interaction) ?? null };
    this.me.set(me);
    this.inHand.set(hand);
    this.#ring();
  }

  /** A consultation of the agent's own is shown with the call that it is about. */
  #withoutOwnConsult(engagements: Engagement[], view: LiveView): Engagement[] {
    const consults = (one: Engagement) => {
      const interaction = view.interactions.get(one.interaction);
      return interaction?.origin === "consult" && interaction.initiator === this.agent;
    };
    const others = engagements.filter((one) => !consults(one));
    return others.length > 0 ? others : engagements;
  }

  /** Rings while an offer waits for this agent, and only in the tab that has the phone. */
  #ring(): void {
    const hand = this.inHand.value;
    const offered = hand?.engagement.state === "ringing" || hand?.engagement.state === "reserved";
    const call = this.phone.value?.call.value;
    const byPhone = call?.state === "ringing" && !call.automatic;
    const byTask = offered && hand?.interaction?.media === "task";
    const loud = this.work.value.phase === "on" && this.work.value.place !== "elsewhere";
    if (loud && (byPhone || byTask)) {
      this.sounds.startRing();
      this.#notify(hand);
    } else {
      this.sounds.stopRing();
      this.#notification?.close();
      this.#notification = null;
    }
  }

  #notify(hand: InHand | null): void {
    if (this.#notification !== null || !document.hidden || typeof Notification === "undefined" || Notification.permission !== "granted") return;
    const tag = hand?.engagement.interaction ?? "call";
    this.#notification = new Notification(hand?.interaction?.caller ?? "Ringdown", { tag, requireInteraction: true });
    this.#notification.onclick = () => window.focus();
  }

  #hear(event: LiveEvent): void {
    if (event.kind !== "offer_failed" || event.agent !== this.agent || !event.failure) return;
    this.notice.set({ text: `missed_${event.failure}` as Key, tone: "warn" });
  }

  #engagementOf(interaction: string): Engagement | undefined {
    return this.me.value?.engagements.find((one) => one.interaction === interaction);
  }

  #until(holds: () => boolean, limitMs: number): Promise<boolean> {
    if (holds()) return Promise.resolve(true);
    return new Promise((answer) => {
      let end = (): void => undefined;
      const late = setTimeout(() => {
        end();
        answer(false);
      }, limitMs);
      end = this.live.view.subscribe(() => {
        if (!holds()) return;
        clearTimeout(late);
        queueMicrotask(() => end());
        answer(true);
      });
    });
  }
}

const ORDER: Engagement["state"][] = ["ringing", "reserved", "talking", "held", "wrapping_up"];

/** What the agent attends to first. */
export function foremost(engagements: Engagement[]): Engagement | undefined {
  return [...engagements].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state))[0];
}

/** Null: there is a microphone, and we may use it. */
async function askMicrophone(): Promise<StartFault | null> {
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    for (const track of stream.getTracks()) track.stop();
    return null;
  } catch (error) {
    return error instanceof DOMException && error.name === "NotFoundError" ? "microphone_missing" : "microphone_denied";
  }
}

/** A refusal in the reader's words. */
export function noticeOf(error: unknown): Notice {
  if (!(error instanceof Refusal)) return { text: "error_title", tone: "bad", detail: String(error) };
  if (error.code === "no_answer" || error.status === 503 || error.status === 504) return { text: "error_no_answer", tone: "bad" };
  return { text: "error_title", tone: "bad", detail: error.errors[0] ? `${error.errors[0].field}: ${error.errors[0].reason}` : error.detail };
}
