//! The time, told often enough for countdowns.

import { Cell } from "./cell";
import type { ServerClock } from "./clock";

/** How often, milliseconds; a second's display is then never more than this late. */
const EVERY_MS = 250;

/** The server's time, told four times a second. Nothing is decided by it; it is only shown. */
export function ticking(clock: ServerClock): Cell<number> {
  const cell = new Cell(clock.now());
  setInterval(() => cell.set(clock.now()), EVERY_MS);
  return cell;
}
