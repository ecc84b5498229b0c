//! Addresses within a page (History API): the part below the page's own path, with its query.

import { Cell } from "./cell";

export interface Address {
  /** Parts below the page's path, decoded. */
  parts: string[];
  query: URLSearchParams;
}

export class Router {
  readonly address: Cell<Address>;

  /** `root` is the page's own path, as `/admin`. */
  constructor(private readonly root: string) {
    this.address = new Cell(this.#read());
    window.addEventListener("popstate", () => this.address.set(this.#read()));
    document.addEventListener("click", (event) => this.#click(event));
  }

  /** The address of parts below the page. */
  to(...parts: string[]): string {
    return [this.root, ...parts.map(encodeURIComponent)].join("/");
  }

  go(href: string): void {
    history.pushState(null, "", href);
    this.address.set(this.#read());
    window.scrollTo(0, 0);
  }

  /** Changes the query in place, for filters: back leaves the list, not the last letter typed. */
  keep(query: Record<string, string>): void {
    const set = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== ""));
    history.replaceState(null, "", set.size > 0 ? `${location.pathname}?${set.toString()}` : location.pathname);
  }

  #read(): Address {
    const below = location.pathname.slice(this.root.length).split("/").filter((part) => part !== "");
    return { parts: below.map(decodeURIComponent), query: new URLSearchParams(location.search) };
  }

  /** A plain click on a link within the page changes the address without loading it anew. */
  #click(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (link === null || link.target !== "" || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (link.pathname !== this.root && !link.pathname.startsWith(`${this.root}/`)) return;
    event.preventDefault();
    this.go(link.href);
  }
}
