// Runs the phone in headless Chromium. Standard input: a command in JSON a line; standard output: an event in JSON a line.
//   drive.mjs MICROPHONE.wav
import { build } from "esbuild";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const here = dirname(fileURLToPath(import.meta.url));
const bundle = await build({ entryPoints: [join(here, "page.js")], bundle: true, write: false, format: "iife", logLevel: "error" });
const script = bundle.outputFiles[0].text;
const server = createServer((request, response) => {
  const page = request.url === "/";
  response.setHeader("Content-Type", page ? "text/html" : "text/javascript");
  response.end(page ? "<!doctype html><script src=/page.js></script>" : script);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

const browser = await chromium.launch({
  executablePath: process.env.RINGDOWN_CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--ignore-certificate-errors",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", `--use-file-for-fake-audio-capture=${process.argv[2]}`,
    "--autoplay-policy=no-user-gesture-required", "--allow-loopback-in-peer-connection", "--disable-features=WebRtcHideLocalIpsWithMdns",
  ],
});
const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
const say = (text) => process.stdout.write(`${text}\n`);
page.on("pageerror", (error) => say(JSON.stringify({ event: "page_error", error: String(error) })));
await page.exposeFunction("say", say);
await page.goto(`http://127.0.0.1:${server.address().port}/`);
say(JSON.stringify({ event: "ready" }));

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...options } = JSON.parse(line);
  if (command === "start") await page.evaluate((given) => window.start(given), options);
  else if (command === "heard") say(JSON.stringify({ event: "heard", hz: await page.evaluate(() => window.heard()) }));
  else if (command === "packets") say(JSON.stringify({ event: "packets", count: await page.evaluate(() => window.packets()) }));
  else if (command === "hang_up") await page.evaluate(() => window.hangUp());
}
await browser.close();
server.close();
