//! What is heard beside the voice: synthesised, so no file has to be fetched when it matters. The ring may go to another
//! device than the voice. Nothing sounds before a gesture has opened the audio (`wake`).

export type SoundName = "ring" | "beep" | "hold" | "wrap_ending" | "lost" | "test";

interface Tone {
  hz: number;
  at: number;
  for: number;
}

/** Tones in seconds from the sound's begin. */
const SOUNDS: Record<SoundName, Tone[]> = {
  ring: [0, 0.12, 0.24, 0.36, 0.9, 1.02, 1.14, 1.26].map((at, index) => ({ hz: index % 2 === 0 ? 660 : 880, at, for: 0.1 })),
  beep: [{ hz: 620, at: 0, for: 0.12 }, { hz: 930, at: 0.16, for: 0.16 }],
  hold: [{ hz: 440, at: 0, for: 0.1 }, { hz: 440, at: 0.2, for: 0.1 }],
  wrap_ending: [{ hz: 520, at: 0, for: 0.15 }],
  lost: [{ hz: 480, at: 0, for: 0.25 }, { hz: 380, at: 0.3, for: 0.4 }],
  test: [{ hz: 660, at: 0, for: 0.15 }, { hz: 880, at: 0.2, for: 0.25 }],
};
/** The ring begins anew after this, milliseconds. */
const RING_EVERY_MS = 2_600;

export class Sounds {
  #context: AudioContext | null = null;
  #volume = 0.5;
  #device = "";
  #ringing: ReturnType<typeof setInterval> | undefined;

  /** Whether sounds can be heard. */
  get awake(): boolean {
    return this.#context?.state === "running";
  }

  /** Opens the audio; within a gesture. False: the browser does not let us yet. */
  async wake(): Promise<boolean> {
    this.#context ??= new AudioContext();
    await this.#route();
    // A browser that wants a gesture leaves this open for ever; it is awaited only so long as the state says nothing.
    void this.#context.resume();
    await Promise.race([this.#context.resume(), new Promise((done) => setTimeout(done, 500))]);
    return this.awake;
  }

  /** 0 to 1. */
  set volume(volume: number) {
    this.#volume = volume;
  }

  /** The output for these sounds; empty: the system's. */
  async useDevice(id: string): Promise<void> {
    this.#device = id;
    await this.#route();
  }

  play(name: SoundName): void {
    const context = this.#context;
    if (context === null || context.state !== "running") return;
    for (const tone of SOUNDS[name]) this.#tone(context, tone);
  }

  startRing(): void {
    if (this.#ringing !== undefined) return;
    this.play("ring");
    this.#ringing = setInterval(() => this.play("ring"), RING_EVERY_MS);
  }

  stopRing(): void {
    clearInterval(this.#ringing);
    this.#ringing = undefined;
  }

  #tone(context: AudioContext, tone: Tone): void {
    const begin = context.currentTime + tone.at;
    const gain = context.createGain();
    gain.gain.setValueAtTime(0, begin);
    gain.gain.linearRampToValueAtTime(this.#volume * 0.4, begin + 0.01);
    gain.gain.setValueAtTime(this.#volume * 0.4, begin + tone.for - 0.02);
    gain.gain.linearRampToValueAtTime(0, begin + tone.for);
    const oscillator = context.createOscillator();
    oscillator.frequency.value = tone.hz;
    oscillator.connect(gain).connect(context.destination);
    oscillator.start(begin);
    oscillator.stop(begin + tone.for);
  }

  async #route(): Promise<void> {
    const context = this.#context as (AudioContext & { setSinkId?: (id: string) => Promise<void> }) | null;
    // A device that is gone leaves the sound where it is: heard somewhere is better than not at all.
    await context?.setSinkId?.(this.#device).catch(() => undefined);
  }
}
