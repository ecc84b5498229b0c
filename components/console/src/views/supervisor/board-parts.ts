//! What the supervisor's views share; one per page.

import type { Place } from "../../lib/boot";
import { Cell } from "../../lib/cell";
import { Desk, noticeOf, type Notice } from "../../lib/desk";
import { Directory } from "../../lib/directory";
import { liveOf, type Live } from "../../lib/live";
import { ticking } from "../../lib/ticking";

export interface BoardParts {
  place: Place;
  tenant: string;
  live: Live;
  directory: Directory;
  now: Cell<number>;
  notice: Cell<Notice | null>;
  /** The supervisor's own phone, to listen and to step in; null: the user has no agent. */
  desk: Desk | null;
  /** Sends a command; a refusal becomes the notice. True: it was done. */
  act: (send: () => Promise<unknown>) => Promise<boolean>;
}

let made: BoardParts | null = null;

export function boardFor(place: Place, tenant: string): BoardParts {
  if (made !== null) return made;
  const { api, session } = place;
  const live = liveOf(api, { topics: ["agents", "interactions", "queues"], tenant: session.tenant === null ? tenant : undefined });
  const notice = new Cell<Notice | null>(null);
  const directory = new Directory(api, tenant, true);
  live.onEvent.add((event) => {
    if (event.kind === "config_applied") void directory.read();
  });
  const desk =
    session.agent === null
      ? null
      : new Desk(api, tenant, session.agent, live, async () => {
          const { JsSipPhone } = await import("../../lib/phone/jssip-phone");
          return new JsSipPhone();
        });
  live.start();
  void directory.read();
  void desk?.resumeWork();
  const act = async (send: () => Promise<unknown>): Promise<boolean> => {
    notice.set(null);
    try {
      await send();
      return true;
    } catch (error) {
      notice.set(noticeOf(error));
      return false;
    }
  };
  made = { place, tenant, live, directory, now: ticking(live.clock), notice, desk, act };
  return made;
}
