//! How every page begins: theme, language, font; then its view.

import "@fontsource-variable/atkinson-hyperlegible-next";
import "../styles/base.css";
import { mount, unmount, type Component } from "svelte";
import { Cell } from "./cell";
import { preferredLanguage, rememberLanguage, useLanguage, type Language } from "./i18n";
import { applyTheme } from "./theme";

/** Changes when the language did; the page is then drawn anew, around the same state. */
const drawn = new Cell(0);

/** Draws `view`, now and after each change of the language. */
export async function openPage(view: Component): Promise<void> {
  applyTheme();
  await useLanguage(preferredLanguage());
  const target = document.querySelector("#app");
  if (target === null) throw new Error("the page has no #app");
  let shown: Record<string, unknown> | null = null;
  drawn.subscribe(() => {
    if (shown !== null) void unmount(shown);
    shown = mount(view, { target });
  });
}

/** Speaks another language from now on, in this browser. */
export async function changeLanguage(chosen: Language): Promise<void> {
  rememberLanguage(chosen);
  await useLanguage(chosen);
  drawn.set(drawn.value + 1);
}
