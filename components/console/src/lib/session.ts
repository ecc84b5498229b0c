//! Who is signed in. The session itself is a cookie that no script reads; this holds what the server says of it.

import { Api, Refusal } from "./api";

export type Role = "agent" | "supervisor" | "administrator";

/** Another browser in which the same user is signed in. */
export interface Elsewhere {
  since: number;
  address: string;
}

export interface Session {
  user: string;
  name: string;
  login: string;
  role: Role;
  permissions?: string[];
  /** Null: an administrator of the installation, who chooses a tenant. */
  tenant: string | null;
  tenant_name: string | null;
  tenant_time_zone: string | null;
  /** The agent this user is; null: none. */
  agent: string | null;
  /** Unix milliseconds. */
  expires_at: number;
  csrf: string;
  elsewhere?: Elsewhere[];
}

const PATH = "/api/v1/console/session";

/** The session of this browser; null when nobody is signed in. */
export async function currentSession(api: Api): Promise<Session | null> {
  try {
    return keep(api, await api.ask<Session>("GET", PATH));
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) return null;
    throw error;
  }
}

/** Signs in. @throws {Refusal} `second_factor_needed` when a code is asked for. */
export async function signIn(api: Api, login: string, password: string, code?: string): Promise<Session> {
  const body = code === undefined || code === "" ? { login, password } : { login, password, code };
  return keep(api, await api.ask<Session>("POST", PATH, body));
}

export async function signOut(api: Api): Promise<void> {
  await api.ask("DELETE", PATH);
}

/** Ends this user's log-ins in other browsers. */
export async function endOthers(api: Api): Promise<void> {
  await api.ask("POST", `${PATH}/others/end`, {});
}

function keep(api: Api, session: Session): Session {
  api.csrf = session.csrf;
  return session;
}

/** Pages this session may open, the most fitting first. */
export function pagesFor(session: Session): ("agent" | "supervisor" | "admin")[] {
  const pages: ("agent" | "supervisor" | "admin")[] = [];
  if (session.role === "administrator") pages.push("admin");
  if (session.role !== "agent") pages.push("supervisor");
  if (session.agent !== null) {
    if (session.role === "agent") pages.unshift("agent");
    else pages.push("agent");
  }
  return pages;
}
