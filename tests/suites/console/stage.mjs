// What the scripts of the console's suites share: a browser, people who sign in, checks, screenshots, and the way to ask the test
// for calls. Standard output: one JSON text a line; `{"ask": ...}` wants an answer on standard input, `{"figure": ...}` is kept.
//   node SCRIPT.mjs '{"url": ..., "modules": ..., "shots": ..., "password": ..., ...}'
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const given = JSON.parse(process.argv[2]);
const modules = createRequire(join(given.modules, "package.json"));
const { chromium } = modules("playwright-core");
const axeSource = readFileSync(modules.resolve("axe-core/axe.min.js"), "utf8");
mkdirSync(given.shots, { recursive: true });

/** The longest wait for anything, milliseconds. */
export const PATIENCE = 15_000;
export const LANGUAGES = ["en", "es", "pt", "de"];

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks the test to do something outside of the browser. */
export async function ask(what, more = {}) {
  say({ ask: what, ...more });
  const { value, done } = await answers.next();
  if (done) throw new Error("the test is gone");
  return JSON.parse(value);
}
export const figure = (name, value, unit) => say({ figure: `${name} ${value} ${unit}` });

export function check(holds, what) {
  if (!holds) throw new Error(what);
}

/** Waits until `holds` does. */
export async function until(holds, what, patience = PATIENCE) {
  const end = Date.now() + patience;
  for (;;) {
    if (await holds()) return;
    if (Date.now() > end) throw new Error(`in vain: ${what}`);
    await new Promise((done) => setTimeout(done, 25));
  }
}

/** A browser whose microphone plays `file`; `extra` are further options of Chromium's. */
export function launch(file = given.microphone, extra = []) {
  return chromium.launch({
    executablePath: process.env.RINGDOWN_CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--ignore-certificate-errors",
      "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", `--use-file-for-fake-audio-capture=${file}`,
      "--allow-loopback-in-peer-connection", "--disable-features=WebRtcHideLocalIpsWithMdns", ...extra,
    ],
  });
}

/** Watches what the page does: its phones' sound, its requests to register, its faults. */
const WATCH = () => {
  window.seen = { registers: 0, contexts: [], latencies: [], rings: 0 };
  const Context = window.AudioContext;
  window.AudioContext = class extends Context {
    constructor(...given) {
      super(...given);
      window.seen.contexts.push(this);
    }
    createOscillator() {
      window.seen.rings += 1;
      return super.createOscillator();
    }
  };
  const Connection = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Connection {
    constructor(...given) {
      super(...given);
      window.seen.connection = this;
      this.addEventListener("track", ({ streams }) => {
        const context = new Context();
        window.seen.analyser = context.createAnalyser();
        window.seen.analyser.fftSize = 8192;
        context.createMediaStreamSource(streams[0]).connect(window.seen.analyser);
      });
    }
  };
  const Socket = window.WebSocket;
  window.WebSocket = class extends Socket {
    constructor(...given) {
      super(...given);
      window.seen.sockets = [...(window.seen.sockets ?? []), this];
      this.addEventListener("message", ({ data }) => {
        if (typeof data !== "string" || !data.startsWith("{")) return;
        const message = JSON.parse(data);
        if (message.kind === "event" && message.event.kind === "agent_changed") window.seen.changed = message.at_ms;
      });
    }
    send(data) {
      if (String(data).startsWith("REGISTER ")) window.seen.registers += 1;
      return super.send(data);
    }
  };
  // From the router's commit to the changed page, milliseconds: the same clock, since all is on one host.
  new MutationObserver((changes) => {
    if (window.seen.changed && changes.some((change) => change.attributeName === "data-state")) {
      requestAnimationFrame(() => window.seen.latencies.push(Date.now() - window.seen.changed));
    }
  }).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-state"] });
};

/** The strongest tone a page hears from its phone, hertz; 0 for silence. */
export const heard = (page) =>
  page.evaluate(() => {
    const { analyser } = window.seen;
    if (!analyser) return 0;
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    let best = 0;
    bins.forEach((level, bin) => { if (level > bins[best]) best = bin; });
    return bins[best] < -70 ? 0 : (best * analyser.context.sampleRate) / analyser.fftSize;
  });
export const hears = (page, hz, patience = PATIENCE) => until(async () => Math.abs((await heard(page)) - hz) < 15, `the browser hears ${hz} Hz`, patience);

const faults = [];
/** A window of a person's own. */
export async function person(browser, options = {}) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1366, height: 768 }, permissions: ["microphone"], locale: "en-GB", ...options });
  context.setDefaultTimeout(PATIENCE);
  await context.addInitScript(WATCH);
  if (options.init) await context.addInitScript(options.init);
  context.on("page", (page) => {
    page.on("pageerror", (error) => faults.push(`${page.url()}: ${error}`));
    page.on("console", (line) => {
      // A strict page says so here when it tries what it may not.
      if (/Content Security Policy|Refused to/.test(line.text())) faults.push(`${page.url()}: ${line.text()}`);
    });
  });
  return context;
}

export async function signIn(context, login, password = given.password, to = "/") {
  const page = await context.newPage();
  await page.goto(given.url + to);
  await page.fill("#login", login);
  await page.fill("#password", password);
  await page.click("form button.primary");
  return page;
}

/** No violations of WCAG 2.2 AA, and nothing wider than the window. */
export async function accessible(page, what) {
  await page.evaluate(axeSource);
  const found = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }));
  const lines = found.violations.map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => `${node.target.join(" ")} (${(node.any[0] ?? node.all[0] ?? node.none[0])?.message ?? ""})`).join(" | ")}`);
  check(lines.length === 0, `${what}: ${lines.join("\n")}`);
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check(wider <= 0, `${what}: ${wider} px wider than the window`);
}

/** A view as it is: without violations, and as a picture. */
export async function oneLook(page, name) {
  await accessible(page, name);
  await page.screenshot({ path: join(given.shots, `${name}.png`) });
}

/** A view in both themes and all languages: without violations, and as pictures. */
export async function everyLook(page, name, languages = LANGUAGES) {
  for (const language of languages) {
    for (const theme of ["light", "dark"]) {
      await look(page, language, theme);
      await accessible(page, `${name}, ${language}, ${theme}`);
      await page.screenshot({ path: join(given.shots, `${name}-${language}-${theme}.png`) });
    }
  }
  await page.setViewportSize({ width: 320, height: 800 });
  await accessible(page, `${name} at 320 px`);
  await page.screenshot({ path: join(given.shots, `${name}-320.png`) });
  await page.setViewportSize({ width: 1366, height: 768 });
  await look(page, "en", "light");
}

/** By the account menu where there is one, since a reload would cut a call. */
async function look(page, language, theme) {
  const menu = page.locator("[popovertarget=account-menu]");
  const open = async () => {
    if ((await menu.count()) > 0 && !(await page.locator("#account-menu").isVisible())) await menu.click();
  };
  if ((await page.getAttribute("html", "lang")) !== language) {
    await open();
    await page.locator(".appearance select").nth(0).selectOption(language);
    // The page is drawn anew, with its menu closed.
    await page.waitForFunction((wanted) => document.documentElement.lang === wanted && !document.querySelector("#account-menu:popover-open"), language);
  }
  await page.locator(".appearance select").nth(1).waitFor({ state: "attached" });
  await open();
  await page.locator(".appearance select").nth(1).selectOption(theme);
  if ((await menu.count()) > 0) await page.keyboard.press("Escape");
}

/** The p-th percentile, 0 to 1. */
export const percentile = (values, p) => [...values].sort((a, b) => a - b)[Math.max(0, Math.ceil(values.length * p) - 1)] ?? 0;

/** Runs a script to its end and says how it went. */
export async function play(script) {
  const browser = await launch();
  try {
    await script(browser);
    check(faults.length === 0, `the pages had faults:\n${faults.join("\n")}`);
    say({ done: true });
  } catch (error) {
    for (const [at, page] of browser.contexts().flatMap((context) => context.pages()).entries()) {
      await page.screenshot({ path: join(given.shots, `failed-${at}.png`) }).catch(() => undefined);
    }
    say({ failed: `${error.stack ?? error}${faults.length > 0 ? `\npage faults:\n${faults.join("\n")}` : ""}` });
  } finally {
    await browser.close();
    process.exit(0);
  }
}
