//! What the desk's views share. There is one per page: drawn anew in another language, the call goes on.

import type { Cell } from "../../lib/cell";
import { Desk } from "../../lib/desk";
import { Directory } from "../../lib/directory";
import type { Place } from "../../lib/boot";
import { liveOf } from "../../lib/live";
import { ticking } from "../../lib/ticking";

export interface DeskParts {
  desk: Desk;
  directory: Directory;
  now: Cell<number>;
}

let made: DeskParts | null = null;

export function deskFor(place: Place, tenant: string, agent: string): DeskParts {
  if (made !== null) return made;
  const { api } = place;
  const live = liveOf(api, { topics: ["agents", "interactions"] });
  const desk = new Desk(api, tenant, agent, live, async () => {
    const { JsSipPhone } = await import("../../lib/phone/jssip-phone");
    return new JsSipPhone();
  });
  const directory = new Directory(api, tenant, place.session.role !== "agent");
  live.onEvent.add((event) => {
    if (event.kind === "config_applied") void directory.read();
  });
  live.start();
  void directory.read();
  void desk.resumeWork();
  made = { desk, directory, now: ticking(live.clock) };
  return made;
}
