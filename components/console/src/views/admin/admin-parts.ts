//! What the administrator's views share: where they are, and the objects that fields name each other by.

import { everything, fill, Refusal, type Api, type Schemas } from "../../lib/api";
import type { Place } from "../../lib/boot";
import { Cell } from "../../lib/cell";
import type { Router } from "../../lib/router";
import type { Kind, Lookups } from "./kinds";

export interface AdminParts {
  place: Place;
  api: Api;
  tenant: string;
  router: Router;
  /** Read at the first look and after each change. */
  lookups: Cell<Lookups>;
  refresh: () => Promise<void>;
  pathOf: (kind: Kind) => string;
}

const NOTHING: Lookups = { agents: [], queues: [], skills: [], trunks: [], routes: [], outbound: [], users: [] };
let made: AdminParts | null = null;

export function adminFor(place: Place, tenant: string, router: Router): AdminParts {
  if (made !== null && made.tenant === tenant) return made;
  const { api } = place;
  const lookups = new Cell<Lookups>(NOTHING);
  const of = <T>(path: string) => everything<T>(api, `/api/v1/tenants/${tenant}/${path}`);
  const refresh = async (): Promise<void> => {
    if (tenant === "") return;
    const [agents, queues, skills, trunks, routes, outbound, users] = await Promise.all([
      of<Schemas["Agent"]>("agents"),
      of<Schemas["Queue"]>("queues"),
      of<Schemas["Skill"]>("skills"),
      of<Schemas["Trunk"]>("trunks"),
      of<Schemas["Route"]>("routes"),
      of<Schemas["OutboundRoute"]>("outbound-routes"),
      everything<Schemas["User"]>(api, "/api/v1/users", { tenant }),
    ]);
    lookups.set({ agents, queues, skills, trunks, routes, outbound, users });
  };
  made = { place, api, tenant, router, lookups, refresh, pathOf: (kind) => fill(kind.path, { tenant }) };
  void refresh().catch(() => undefined);
  return made;
}

/** What a refusal says, in words for a page. */
export function saidOf(error: unknown): string {
  return error instanceof Refusal ? error.detail : String(error);
}
