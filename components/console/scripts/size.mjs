// Says what each page loads first, compressed, and fails where the agent's desk is heavier than it may be. The phone (JsSIP)
// is fetched after the log-in and is counted apart; of the font only the Latin part is loaded first.
import { readFile, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const LIMIT_KB = 250;
const dist = join(dirname(fileURLToPath(import.meta.url)), "../dist");
const weight = async (file) => {
  const bytes = await readFile(join(dist, file));
  return /\.woff2$/.test(file) ? bytes.length : gzipSync(bytes, { level: 9 }).length;
};

/** What a page's HTML names, what those files import, and one language. */
async function first(page) {
  const seen = new Set();
  const open = [...(await readFile(join(dist, page), "utf8")).matchAll(/(?:src|href)="\/(assets\/[^"]+)"/g)].map((match) => match[1]);
  while (open.length > 0) {
    const file = open.pop();
    if (seen.has(file)) continue;
    seen.add(file);
    if (!file.endsWith(".js")) continue;
    const text = await readFile(join(dist, file), "utf8");
    for (const match of text.matchAll(/(?:\bfrom|\bimport)\s*"\.\/([^"]+\.js)"/g)) open.push(`assets/${match[1]}`);
  }
  const assets = await readdir(join(dist, "assets"));
  const extra = assets.filter((name) => /^messages\.de-.*\.js$/.test(name) || /latin-wght-normal-.*\.woff2$/.test(name) && !/latin-ext/.test(name));
  extra.forEach((name) => seen.add(`assets/${name}`));
  return seen;
}

let failed = false;
for (const page of (await readdir(dist)).filter((name) => name.endsWith(".html"))) {
  const files = await first(page);
  let sum = await weight(page);
  for (const file of files) sum += await weight(file);
  const kb = sum / 1000;
  const over = page === "agent.html" && kb > LIMIT_KB;
  failed ||= over;
  console.log(`console_${page.replace(".html", "")}_first_load ${kb.toFixed(1)} kilobytes${over ? ` (may be ${LIMIT_KB})` : ""}`);
}
process.exit(failed ? 1 : 0);
