//! One phone among all tabs of a browser: the tab that holds the lock has it. Others see that, can ask it to act, and take over
//! when it closes or crashes, or at once when their user says so.

import { Cell } from "./cell";

/** What a tab without the phone may ask of the one that has it. */
export type OwnerCommand = "answer" | "mute" | "unmute" | "hang_up";

const NAME = "ringdown-phone";

export class PhoneOwner {
  /** This tab has the phone. */
  readonly owned = new Cell(false);
  /** Another tab has it. */
  readonly elsewhere = new Cell(false);
  /** Called in the owner when another tab asks for something. */
  onCommand: ((command: OwnerCommand) => void) | null = null;

  readonly #channel = new BroadcastChannel(NAME);
  #release: (() => void) | null = null;
  #waiting: AbortController | null = null;

  constructor() {
    this.#channel.onmessage = ({ data }: MessageEvent<OwnerCommand>) => {
      if (this.owned.value) this.onCommand?.(data);
    };
  }

  /** Takes the phone where nobody has it; else waits in line for it. True: this tab has it now. */
  async claim(): Promise<boolean> {
    if (this.owned.value) return true;
    const free = await new Promise<boolean>((answer) => {
      void navigator.locks.request(NAME, { ifAvailable: true }, (lock) => {
        answer(lock !== null);
        return lock === null ? undefined : this.#hold();
      }).catch(() => this.#lost());
    });
    this.elsewhere.set(!free);
    if (!free) this.#wait();
    return free;
  }

  /** Takes the phone from the tab that has it. */
  async steal(): Promise<void> {
    this.#waiting?.abort();
    await new Promise<void>((taken) => {
      void navigator.locks.request(NAME, { steal: true }, () => {
        taken();
        return this.#hold();
      }).catch(() => this.#lost());
    });
    this.elsewhere.set(false);
  }

  /** Whether any tab has the phone now. */
  async anybody(): Promise<boolean> {
    const { held } = await navigator.locks.query();
    return (held ?? []).some((lock) => lock.name === NAME);
  }

  /** Gives the phone back, or the place in the line. */
  release(): void {
    this.#waiting?.abort();
    this.#release?.();
    this.#release = null;
    this.owned.set(false);
  }

  /** Asks the tab that has the phone. */
  ask(command: OwnerCommand): void {
    this.#channel.postMessage(command);
  }

  #wait(): void {
    this.#waiting?.abort();
    const waiting = new AbortController();
    this.#waiting = waiting;
    void navigator.locks
      .request(NAME, { signal: waiting.signal }, () => {
        this.elsewhere.set(false);
        return this.#hold();
      })
      .catch(() => {
        if (!waiting.signal.aborted) this.#lost();
      });
  }

  #hold(): Promise<void> {
    this.owned.set(true);
    return new Promise((done) => (this.#release = done));
  }

  /** Another tab took it. */
  #lost(): void {
    this.#release = null;
    this.owned.set(false);
    this.elsewhere.set(true);
    this.#wait();
  }
}
