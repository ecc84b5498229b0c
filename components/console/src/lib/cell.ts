//! A value that others watch. It keeps the contract of a Svelte store without importing Svelte.

export type Listener<T> = (value: T) => void;

/** Something with a value now, and a word at each change. */
export interface Watched<T> {
  readonly value: T;
  /** Calls `listener` at once and at each change; the answer ends that. */
  subscribe(listener: Listener<T>): () => void;
}

export class Cell<T> implements Watched<T> {
  #value: T;
  readonly #listeners = new Set<Listener<T>>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  /** Takes a new value and tells it, also when it equals the old one: objects change inside. */
  set(value: T): void {
    this.#value = value;
    for (const listener of [...this.#listeners]) listener(value);
  }

  subscribe(listener: Listener<T>): () => void {
    this.#listeners.add(listener);
    listener(this.#value);
    return () => this.#listeners.delete(listener);
  }
}
