//! How good the sound is, from two reports of the browser's.

import type { Quality } from "./phone";

interface Inbound {
  packetsReceived: number;
  packetsLost: number;
  jitter: number;
  bytesReceived: number;
}

/** The sound between two reports. */
export function quality(before: RTCStatsReport, after: RTCStatsReport): Quality {
  const [then, now] = [inbound(before), inbound(after)];
  const received = now.packetsReceived - then.packetsReceived;
  const lost = Math.max(0, now.packetsLost - then.packetsLost);
  const loss = received + lost === 0 ? 0 : lost / (received + lost);
  const rtt = roundTrip(after);
  const jitter = now.jitter * 1_000;
  return {
    rtt,
    jitter,
    loss,
    mos: mos(rtt ?? 0, jitter, loss),
    silentIn: now.bytesReceived === then.bytesReceived,
    silentOut: flat(before, after),
  };
}

/** Mean opinion score by a shortened E-model (ITU-T G.107): delay, jitter and loss cost points of 93.2. */
export function mos(rttMs: number, jitterMs: number, loss: number): number {
  const delay = rttMs / 2 + jitterMs * 2 + 10;
  const cost = delay < 160 ? delay / 40 : (delay - 120) / 10;
  const r = Math.max(0, Math.min(93.2, 93.2 - cost - loss * 250));
  return 1 + 0.035 * r + 7e-6 * r * (r - 60) * (100 - r);
}

function inbound(report: RTCStatsReport): Inbound {
  const sum: Inbound = { packetsReceived: 0, packetsLost: 0, jitter: 0, bytesReceived: 0 };
  report.forEach((entry: Inbound & { type: string; kind?: string }) => {
    if (entry.type !== "inbound-rtp" || entry.kind !== "audio") return;
    sum.packetsReceived += entry.packetsReceived;
    sum.packetsLost += entry.packetsLost;
    sum.bytesReceived += entry.bytesReceived;
    sum.jitter = Math.max(sum.jitter, entry.jitter);
  });
  return sum;
}

function roundTrip(report: RTCStatsReport): number | null {
  let rtt: number | null = null;
  report.forEach((entry: { type: string; state?: string; nominated?: boolean; currentRoundTripTime?: number }) => {
    if (entry.type === "candidate-pair" && entry.nominated && entry.currentRoundTripTime !== undefined) rtt = entry.currentRoundTripTime * 1_000;
  });
  return rtt;
}

/** The microphone's energy did not grow at all: it is dead, not only quiet. */
function flat(before: RTCStatsReport, after: RTCStatsReport): boolean {
  const energy = (report: RTCStatsReport) => {
    let found: number | null = null;
    report.forEach((entry: { type: string; kind?: string; totalAudioEnergy?: number }) => {
      if (entry.type === "media-source" && entry.kind === "audio") found = entry.totalAudioEnergy ?? null;
    });
    return found;
  };
  const [then, now] = [energy(before), energy(after)];
  return then !== null && then === now;
}
