//! How times, durations and numbers are shown. Moments are Unix milliseconds (UTC); the reader's zone is shown.

import { language } from "./i18n";

/** The reader's region within the language in use, as `en-IE`: it decides how dates are written. */
function region(): string {
  return globalThis.navigator?.languages.find((tag) => tag.slice(0, 2) === language()) ?? language();
}

/** 4:07, or 1:02:07 from an hour on; never negative. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts = [Math.floor(seconds / 60) % 60, seconds % 60].map((part) => String(part).padStart(2, "0"));
  const hours = Math.floor(seconds / 3600);
  if (hours > 0) return `${hours}:${parts.join(":")}`;
  return `${Math.floor(seconds / 60)}:${parts[1]}`;
}

/** 14:02; with `seconds` 14:02:11. */
export function clockTime(at: number, seconds = false, zone?: string): string {
  const wanted: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (seconds) wanted.second = "2-digit";
  if (zone !== undefined) wanted.timeZone = zone;
  return new Intl.DateTimeFormat(region(), wanted).format(at);
}

/** 12 Nov 2026, 14:02. */
export function dateTime(at: number, zone?: string): string {
  const wanted: Intl.DateTimeFormatOptions = { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" };
  if (zone !== undefined) wanted.timeZone = zone;
  return new Intl.DateTimeFormat(region(), wanted).format(at);
}

/** A count with the language's separators. */
export function count(value: number): string {
  return new Intl.NumberFormat(region()).format(value);
}

/** The reader's zone, where it is another than the tenant's; else null. */
export function foreignZone(tenant: string | null): string | null {
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return tenant !== null && tenant !== own ? own : null;
}
