//! What an agent has written about an interaction and not saved: kept in this browser, so a reload or a log-out loses nothing.

export interface Draft {
  code: string;
  notes: string;
  fields: Record<string, string>;
  /** What the server last took; a draft that equals it is saved. */
  saved: string;
}

const PREFIX = "ringdown.draft.";
/** How many interactions' drafts are kept. */
const KEPT = 50;

export function draftOf(interaction: string): Draft | null {
  const stored = localStorage.getItem(PREFIX + interaction);
  return stored === null ? null : (JSON.parse(stored) as Draft);
}

export function keepDraft(interaction: string, draft: Draft): void {
  const known = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
  if (known.length >= KEPT && !known.includes(PREFIX + interaction)) localStorage.removeItem(known[0] ?? "");
  localStorage.setItem(PREFIX + interaction, JSON.stringify(draft));
}

export function dropDraft(interaction: string): void {
  localStorage.removeItem(PREFIX + interaction);
}

/** What would be sent, as text to compare. */
export const contentOf = (draft: Draft): string => JSON.stringify([draft.code, draft.notes, draft.fields]);
