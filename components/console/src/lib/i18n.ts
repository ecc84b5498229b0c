//! Texts in the reader's language: en, es, pt or de. One language is loaded, before the first page is drawn.

import type en from "../generated/messages.en";

export type Key = keyof typeof en;
export type Language = "en" | "es" | "pt" | "de";

/** Each language by its own name. */
export const LANGUAGES: readonly (readonly [Language, string])[] = [
  ["en", "English"],
  ["es", "Español"],
  ["pt", "Português"],
  ["de", "Deutsch"],
];

const STORED = "ringdown.language";

const loaders: Record<Language, () => Promise<{ default: Record<Key, string> }>> = {
  en: () => import("../generated/messages.en"),
  es: () => import("../generated/messages.es"),
  pt: () => import("../generated/messages.pt"),
  de: () => import("../generated/messages.de"),
};

let texts: Partial<Record<Key, string>> = {};
let current: Language = "en";
let plurals = new Intl.PluralRules("en");

/** The language in use. */
export function language(): Language {
  return current;
}

/** The language chosen here before, else the browser's first that we have, else English. */
export function preferredLanguage(): Language {
  const wanted = [localStorage.getItem(STORED) ?? "", ...navigator.languages];
  const known = wanted.map((tag) => tag.slice(0, 2)).find((tag) => LANGUAGES.some(([code]) => code === tag));
  return (known as Language | undefined) ?? "en";
}

/** Loads a language's texts; what `t` says afterwards is in it. */
export async function useLanguage(wanted: Language): Promise<void> {
  texts = (await loaders[wanted]()).default;
  current = wanted;
  plurals = new Intl.PluralRules(wanted);
  document.documentElement.lang = wanted;
}

/** Remembers the reader's own choice. */
export function rememberLanguage(chosen: Language): void {
  localStorage.setItem(STORED, chosen);
}

/** The text of a key, its places in braces filled. */
export function t(key: Key, places: Record<string, string | number> = {}): string {
  const text = texts[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(places[name] ?? whole));
}

/** The text `stem_one` or `stem_other`, by the language's rule for this count, which fills `{count}`. */
export function counted(stem: string, count: number, places: Record<string, string | number> = {}): string {
  const form = plurals.select(count) === "one" ? "one" : "other";
  return t(`${stem}_${form}` as Key, { count, ...places });
}

/** The text of a key made of a word of the server's, or the word itself where we have none. */
export function word(stem: string, value: string): string {
  const text = texts[`${stem}_${value}` as Key];
  return text ?? value.replaceAll("_", " ");
}
