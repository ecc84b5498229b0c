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
/** The ring begins anew after this, seconds. */
const RING_EVERY_S = 2.6;

export class Sounds {
  #context: AudioContext | null = null;
  #volume = 0.5;
  #device = "";
  #ringing: AudioBufferSourceNode | null = null;

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

  /** Rings until `stopRing`. The sound's own clock repeats it: timers of a page that is not seen hardly run. */
  startRing(): void {
    const context = this.#context;
    if (this.#ringing !== null || context === null || context.state !== "running") return;
    const source = context.createBufferSource();
    source.buffer = ringBuffer(context);
    source.loop = true;
    const gain = context.createGain();
    gain.gain.value = this.#volume * 0.4;
    source.connect(gain).connect(context.destination);
    source.start();
    this.#ringing = source;
  }

  stopRing(): void {
    this.#ringing?.stop();
    this.#ringing = null;
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

/** One round of the ring, with its pause; each tone rises and falls within 10 ms, so that nothing clicks. */
function ringBuffer(context: AudioContext): AudioBuffer {
  const rate = context.sampleRate;
  const buffer = context.createBuffer(1, Math.round(RING_EVERY_S * rate), rate);
  const samples = buffer.getChannelData(0);
  for (const tone of SOUNDS.ring) {
    const [begin, length] = [Math.round(tone.at * rate), Math.round(tone.for * rate)];
    for (let at = 0; at < length; at += 1) {
      const edge = Math.min(1, Math.min(at, length - at) / (0.01 * rate));
      samples[begin + at] = Math.sin((2 * Math.PI * tone.hz * at) / rate) * edge;
    }
  }
  return buffer;
}
