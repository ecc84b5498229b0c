//! The kinds of objects an administrator edits: where they are, what a list shows, which fields a form has. One generic list
//! and one generic form draw them all.

import type { Key } from "../../lib/i18n";
import { t } from "../../lib/i18n";
import type { Schemas } from "../../lib/api";

export type Item = Record<string, unknown>;

/** What fields choose from and lists name by. */
export interface Lookups {
  agents: Schemas["Agent"][];
  queues: Schemas["Queue"][];
  skills: Schemas["Skill"][];
  trunks: Schemas["Trunk"][];
  routes: Schemas["Route"][];
  outbound: Schemas["OutboundRoute"][];
  users: Schemas["User"][];
}

export type FieldType = "text" | "password" | "number" | "seconds" | "check" | "choice" | "lines" | "levels" | "requirements" | "ordered";

export interface Field {
  name: string;
  label: Key;
  hint?: Key;
  type: FieldType;
  required?: boolean;
  /** Only when it is made; shown afterwards, not changed. */
  fixed?: boolean;
  min?: number;
  max?: number;
  /** What can be chosen: value and name. An empty value means null. */
  choices?: (lookups: Lookups) => (readonly [string, string])[];
  /** What a new one begins with. */
  initial?: unknown;
}

export interface Column {
  label: Key;
  value: (item: Item, lookups: Lookups) => string;
  number?: boolean;
}

export interface Kind {
  key: "users" | "agents" | "queues" | "skills" | "trunks" | "routes" | "outbound" | "tenants";
  /** The list's path; `{tenant}` is filled. */
  path: string;
  query?: (tenant: string) => Record<string, string>;
  /** What a new one must also carry. */
  extra?: (tenant: string) => Item;
  idOf: (item: Item) => string;
  nameOf: (item: Item, lookups: Lookups) => string;
  columns: Column[];
  fields: Field[];
  /** Others that use it, by name. */
  usedBy?: (item: Item, lookups: Lookups) => string[];
  /** Only for administrators of the installation. */
  installation?: boolean;
}

const id = (item: Item) => String(item.id);
const name = (item: Item) => String(item.name);
const named = (items: { id: string; name: string }[], wanted: unknown) => items.find((one) => one.id === wanted)?.name ?? "";
const seconds = (value: unknown) => (typeof value === "number" ? `${value / 1000} s` : "");
const byName = <T extends { id: string; name: string }>(items: T[]) => items.map((one) => [one.id, one.name] as const);
const NAME: Field = { name: "name", label: "f_name", type: "text", required: true };

export const KINDS: Kind[] = [
  {
    key: "users",
    path: "/api/v1/users",
    query: (tenant) => ({ tenant }),
    extra: (tenant) => ({ tenant }),
    idOf: id,
    nameOf: (item) => String(item.login),
    columns: [
      { label: "f_login", value: (item) => String(item.login) },
      { label: "f_name", value: name },
      { label: "f_role", value: (item) => t(`role_${String(item.role)}` as Key) },
      { label: "f_agent", value: (item, { agents }) => named(agents, item.agent) },
    ],
    fields: [
      { name: "login", label: "f_login", type: "text", required: true, fixed: true },
      NAME,
      { name: "password", label: "f_password", hint: "f_password_hint", type: "password", required: true },
      { name: "role", label: "f_role", type: "choice", required: true, initial: "agent", choices: () => (["agent", "supervisor", "administrator"] as const).map((role) => [role, t(`role_${role}`)] as const) },
      { name: "agent", label: "f_agent", type: "choice", choices: ({ agents }) => [["", "–"], ...byName(agents)] },
    ],
  },
  {
    key: "agents",
    path: "/api/v1/tenants/{tenant}/agents",
    idOf: id,
    nameOf: name,
    columns: [
      { label: "f_name", value: name },
      { label: "f_skills", value: (item) => Object.entries((item.skills ?? {}) as Record<string, number>).map(([skill, level]) => `${skill} ${level}`).join(", ") },
      { label: "f_login", value: (item, { users }) => users.filter((user) => user.agent === item.id).map((user) => user.login).join(", ") },
      { label: "f_sip_user", value: (item) => String(item.sip_user ?? "") },
    ],
    fields: [
      NAME,
      { name: "skills", label: "f_skills", type: "levels", initial: {} },
      { name: "sip_user", label: "f_sip_user", hint: "f_sip_user_hint", type: "text" },
      { name: "sip_password", label: "f_sip_password", hint: "f_password_hint", type: "password" },
    ],
    usedBy: (item, { users }) => users.filter((user) => user.agent === item.id).map((user) => user.login),
  },
  {
    key: "queues",
    path: "/api/v1/tenants/{tenant}/queues",
    idOf: id,
    nameOf: name,
    columns: [
      { label: "f_name", value: name },
      { label: "f_requirements", value: (item) => ((item.requirements ?? []) as Schemas["Requirement"][]).map((one) => `${one.skill} ≥ ${one.min_level}`).join(", ") },
      { label: "f_service_level_ms", value: (item) => seconds(item.service_level_ms), number: true },
      { label: "f_wrap_up_ms", value: (item) => seconds(item.wrap_up_ms), number: true },
      { label: "f_priority", value: (item) => String(item.priority), number: true },
    ],
    fields: [
      NAME,
      { name: "requirements", label: "f_requirements", type: "requirements", initial: [] },
      { name: "service_level_ms", label: "f_service_level_ms", type: "seconds", min: 1, max: 3600, initial: 20_000 },
      { name: "ring_timeout_ms", label: "f_ring_timeout_ms", type: "seconds", min: 1, max: 120, initial: 15_000 },
      { name: "wrap_up_ms", label: "f_wrap_up_ms", type: "seconds", min: 0, max: 3600, initial: 30_000 },
      { name: "wait_limit_ms", label: "f_wait_limit_ms", type: "seconds", min: 1, max: 86_400 },
      { name: "after_no_answer", label: "f_after_no_answer", type: "choice", initial: "not_ready", choices: () => [["not_ready", t("after_not_ready")], ["stay_ready", t("after_stay_ready")]] },
      { name: "priority", label: "f_priority", hint: "f_priority_hint", type: "number", min: 0, max: 100, initial: 0 },
      { name: "recorded", label: "f_recorded", type: "check", initial: false },
      { name: "recording_days", label: "f_recording_days", type: "number", min: 1, max: 3650, initial: 90 },
    ],
    usedBy: (item, { routes }) => routes.filter((route) => route.queue === item.id).map((route) => route.did),
  },
  {
    key: "skills",
    path: "/api/v1/tenants/{tenant}/skills",
    idOf: name,
    nameOf: name,
    columns: [
      { label: "f_name", value: name },
      { label: "f_description", value: (item) => String(item.description ?? "") },
      { label: "kind_agents", value: (item, { agents }) => String(agents.filter((agent) => name(item) in agent.skills).length), number: true },
      { label: "kind_queues", value: (item, { queues }) => String(queues.filter((queue) => queue.requirements.some((one) => one.skill === item.name)).length), number: true },
    ],
    fields: [
      { ...NAME, fixed: true },
      { name: "description", label: "f_description", type: "text" },
    ],
    usedBy: (item, { agents, queues }) => [
      ...queues.filter((queue) => queue.requirements.some((one) => one.skill === item.name)).map((queue) => queue.name),
      ...agents.filter((agent) => name(item) in agent.skills).map((agent) => agent.name),
    ],
  },
  {
    key: "routes",
    path: "/api/v1/tenants/{tenant}/routes",
    idOf: id,
    nameOf: (item) => String(item.did),
    columns: [
      { label: "f_did", value: (item) => String(item.did) },
      { label: "f_queue", value: (item, { queues }) => named(queues, item.queue) },
      { label: "f_trunk", value: (item, { trunks }) => named(trunks, item.trunk) || t("adm_any") },
    ],
    fields: [
      { name: "did", label: "f_did", type: "text", required: true },
      { name: "queue", label: "f_queue", type: "choice", required: true, choices: ({ queues }) => byName(queues) },
      { name: "trunk", label: "f_trunk", type: "choice", choices: ({ trunks }) => [["", t("adm_any")], ...byName(trunks)] },
    ],
  },
  {
    key: "trunks",
    path: "/api/v1/tenants/{tenant}/trunks",
    idOf: id,
    nameOf: name,
    columns: [
      { label: "f_name", value: name },
      { label: "f_sources", value: (item) => ((item.sources ?? []) as string[]).join(", ") },
      { label: "f_destination", value: (item) => String(item.destination ?? "") },
      { label: "f_capacity", value: (item) => String(item.capacity), number: true },
    ],
    fields: [
      NAME,
      { name: "sources", label: "f_sources", hint: "f_sources_hint", type: "lines", required: true, initial: [] },
      { name: "destination", label: "f_destination", hint: "f_destination_hint", type: "text" },
      { name: "caller_id", label: "f_caller_id", type: "text" },
      { name: "capacity", label: "f_capacity", type: "number", min: 1, max: 10_000, initial: 100 },
      { name: "country_code", label: "f_country_code", type: "text" },
      { name: "national_prefix", label: "f_national_prefix", type: "text", initial: "0" },
      { name: "international_prefix", label: "f_international_prefix", type: "text", initial: "00" },
    ],
    usedBy: (item, { routes, outbound }) => [
      ...routes.filter((route) => route.trunk === item.id).map((route) => route.did),
      ...outbound.filter((route) => route.trunks.includes(id(item))).map((route) => route.prefix || t("adm_any")),
    ],
  },
  {
    key: "outbound",
    path: "/api/v1/tenants/{tenant}/outbound-routes",
    idOf: id,
    nameOf: (item) => String(item.prefix) || t("adm_any"),
    columns: [
      { label: "f_prefix", value: (item) => String(item.prefix) || t("adm_any") },
      { label: "f_trunks", value: (item, { trunks }) => ((item.trunks ?? []) as string[]).map((one) => named(trunks, one)).join(", ") },
      { label: "f_caller_id", value: (item) => String(item.caller_id ?? "") },
    ],
    fields: [
      { name: "prefix", label: "f_prefix", type: "text", initial: "" },
      { name: "trunks", label: "f_trunks", type: "ordered", required: true, initial: [], choices: ({ trunks }) => byName(trunks) },
      { name: "strip", label: "f_strip", type: "text", initial: "" },
      { name: "prepend", label: "f_prepend", type: "text", initial: "" },
      { name: "caller_id", label: "f_caller_id", type: "text" },
    ],
  },
  {
    key: "tenants",
    path: "/api/v1/tenants",
    idOf: id,
    nameOf: name,
    columns: [
      { label: "f_name", value: name },
      { label: "f_realm", value: (item) => String(item.realm) },
    ],
    fields: [NAME, { name: "realm", label: "f_realm", hint: "f_realm_hint", type: "text", required: true, fixed: true }],
    installation: true,
  },
];

/** What is sent: only what differs; empty text becomes null, where the field may be empty. */
export function changesOf(fields: readonly Field[], before: Item | null, now: Item): Item {
  const changes: Item = {};
  for (const field of fields) {
    if (before !== null && field.fixed) continue;
    const value = sent(field, now[field.name]);
    if (field.type === "password" && (value === null || value === undefined)) continue;
    const old = before === null ? undefined : (before[field.name] ?? null);
    if (before === null ? value === null || value === undefined : JSON.stringify(value) === JSON.stringify(old)) continue;
    changes[field.name] = value;
  }
  return changes;
}

function sent(field: Field, value: unknown): unknown {
  const empty = value === "" || value === undefined || value === null;
  const keepsEmpty = field.initial !== undefined && typeof field.initial === "string";
  if (field.name === "description") return value ?? "";
  if (empty) return keepsEmpty && value === "" && field.type === "text" ? "" : null;
  return value;
}
