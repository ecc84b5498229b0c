//! What every page behind the log-in starts with: the session, the tenant it works in, and the way back to the log-in.

import { Api, type Schemas } from "./api";
import { currentSession, type Session } from "./session";

export interface Place {
  api: Api;
  session: Session;
  /** The tenant worked in; null: an administrator of the installation has to choose one. */
  tenant: string | null;
  tenants: Schemas["Tenant"][];
}

const STORED = "ringdown.tenant";

/** Where this page's reader is. Without a session the browser goes to the log-in, and this never answers. */
export async function placeOf(): Promise<Place> {
  const api = new Api();
  const session = await currentSession(api);
  if (session === null) {
    toSignIn();
    return new Promise(() => undefined);
  }
  api.onSignedOut = toSignIn;
  if (session.tenant !== null) return { api, session, tenant: session.tenant, tenants: [] };
  const { items } = await api.get("/api/v1/tenants", {}, { query: { limit: 500 } });
  const stored = localStorage.getItem(STORED);
  const known = items.find((one) => one.id === stored) ?? (items.length === 1 ? items[0] : undefined);
  return { api, session, tenant: known?.id ?? null, tenants: items };
}

/** Works in this tenant from now on; the page is loaded anew, since everything in it was another's. */
export function chooseTenant(tenant: string): void {
  localStorage.setItem(STORED, tenant);
  location.reload();
}

/** To the log-in, and back here afterwards. What is written in forms is kept in this browser. */
export function toSignIn(): void {
  location.assign(`/?to=${encodeURIComponent(location.pathname + location.search)}`);
}
