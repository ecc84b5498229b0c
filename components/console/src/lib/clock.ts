//! The server's time. Countdowns are "deadline minus now" by this clock, so a wrong clock of the computer shifts nothing.

/** Observations kept; the least delayed of them says the offset. */
const KEPT = 32;

export class ServerClock {
  #observed: number[] = [];
  #offset = 0;

  constructor(private readonly local: () => number = Date.now) {}

  /** Milliseconds by which the server is ahead. */
  get offset(): number {
    return this.#offset;
  }

  /** Now, as the server counts it: Unix milliseconds. */
  now(): number {
    return this.local() + this.#offset;
  }

  /** A message says that it happened at `at`: now it is that or a little later. */
  observe(at: number): void {
    this.#observed.push(at - this.local());
    if (this.#observed.length > KEPT) this.#observed.shift();
    this.#offset = Math.max(...this.#observed);
  }

  /** Forgets what was observed: what comes next is replayed and old. */
  reset(): void {
    const kept = this.#offset;
    this.#observed = [kept];
  }
}
