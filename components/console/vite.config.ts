/// <reference types="vitest/config" />
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

/** The pages; each is an entry of its own, and its HTML file lies at the root of `dist`. */
const pages = ["index", "agent", "supervisor", "admin", "wallboard"];

/** Where a running web-api is, for `npm run dev` and `npm run preview`. */
const api = process.env.RINGDOWN_WEB_API_URL ?? "http://127.0.0.1:8000";
const proxy = { "/api": { target: api } };

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: "es2023",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    rollupOptions: { input: Object.fromEntries(pages.map((page) => [page, `${page}.html`])) },
  },
  server: { proxy },
  preview: { proxy },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
