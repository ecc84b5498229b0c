// An agent's day at the desk: start of work, offers, controls, transfers, wrap-up, tabs, and what goes wrong.
import { accessible, ask, check, everyLook, figure, given, hears, heard, percentile, person, play, signIn, until } from "./stage.mjs";

const state = (page, wanted, patience) => page.waitForSelector(`article[data-state="${wanted}"]`, patience ? { timeout: patience } : {});
const startWork = async (page) => {
  await page.click("form button.primary");
  await page.waitForSelector("article.call");
  await page.waitForSelector("text=Phone ready");
};
const status = async (page, name) => {
  await page.click("[popovertarget=status-menu]");
  await page.click(`#status-menu >> text="${name}"`);
};
/** Result and end of the wrap-up, ready again. */
const finish = async (page) => {
  await state(page, "wrapping_up");
  await page.selectOption("#result", "solved");
  await page.keyboard.press("Control+Enter");
  await state(page, "none");
};

async function microphoneDenied(browser) {
  const context = await person(browser, {
    init: () => {
      // A blank page has none.
      if (navigator.mediaDevices) navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));
    },
  });
  const page = await signIn(context, "ada");
  await page.waitForURL("**/agent");
  await page.click("form button.primary");
  await page.waitForSelector("text=The browser may not use the microphone");
  check((await page.locator("[popovertarget=status-menu]").count()) === 0, "without a microphone nobody becomes ready");
  await context.close();
}

async function startsWithOneGesture(context) {
  const page = await signIn(context, "ada");
  await page.waitForURL("**/agent");
  await page.waitForSelector("form button.primary");
  check((await page.evaluate(() => window.seen.contexts.length)) === 0, "no sound before the gesture");
  await everyLook(page, "agent-start");
  await startWork(page);
  check((await page.evaluate(() => window.seen.contexts[0].state)) === "running", "sound after the gesture");
  await page.waitForSelector("text=Ready");
  return page;
}

/** The offer is said within 250 ms, F8 answers while typing, and the focus stays where it was. */
async function offerAndAnswer(page) {
  await page.focus("#dial");
  await page.keyboard.type("12");
  const { caller } = await ask("call");
  await state(page, "ringing");
  const shown = Date.now();
  await page.waitForFunction(() => document.querySelector("[role=alert].visually-hidden")?.textContent?.includes("Ringing"));
  check(Date.now() - shown < 250, "the offer is said late");
  await page.waitForSelector("text=Goes to the next agent in");
  await page.waitForSelector("text=Why you");
  await page.focus("#notes");
  await page.keyboard.type("He wants");
  await page.waitForSelector("button:has-text('Answer'):enabled");
  await until(() => page.evaluate(() => window.seen.rings > 2), "the ring is heard");
  await page.keyboard.press("F8");
  await state(page, "talking");
  check((await page.evaluate(() => document.activeElement?.id)) === "notes", "the focus moved");
  check((await ask("caller_hears", { caller, hz: given.hz })).yes, "the caller does not hear the agent");
  await hears(page, given.caller_hz);
  return caller;
}

async function controls(page, caller) {
  await page.keyboard.press("F2");
  await page.waitForSelector("button[aria-pressed=true]:has-text('Unmute')");
  check((await ask("caller_hears_not", { caller, hz: given.hz })).yes, "a muted agent is heard");
  await page.keyboard.press("F2");
  check((await ask("caller_hears", { caller, hz: given.hz })).yes, "the agent is not heard after the mute");
  await page.keyboard.press("F4");
  await state(page, "held");
  check((await ask("caller_hears_not", { caller, hz: given.hz })).yes, "the caller on hold hears the agent");
  await page.keyboard.press("F4");
  await state(page, "talking");
  await page.click("h2 >> nth=0");
  await page.keyboard.press("k");
  await page.click(".keypad >> text='5'");
  await page.click("text=Record");
  await page.waitForSelector("button:has-text('Pause')");
  await everyLook(page, "agent-talking");
  await hears(page, given.caller_hz);
}

/** The draft survives a reload in wrap-up, and so does the server's timer. */
async function wrapUp(page, caller) {
  await ask("hang_up", { caller });
  await state(page, "wrapping_up");
  await page.fill("#notes", "Wants the delivery date.");
  const left = () => page.locator("article .time").textContent().then((text) => Number(text.split(":")[0]) * 60 + Number(text.split(":")[1]));
  const before = { left: await left(), at: Date.now() };
  await page.reload();
  await state(page, "wrapping_up");
  check((await page.inputValue("#notes")) === "Wants the delivery date.", "the notes are gone");
  const lasted = (Date.now() - before.at) / 1000;
  check(Math.abs(before.left - lasted - (await left())) <= 1.5, "the timer jumped");
  await everyLook(page, "agent-wrap-up");
  await page.click("text=One more minute");
  await until(async () => (await left()) > before.left, "the wrap-up was not extended");
  await page.waitForSelector("text=Phone ready");
  await finish(page);
  await page.waitForSelector("text=The next call comes to you by itself");
}

/** A call that the agent does not take, and the remedy. */
async function missed(page) {
  await ask("ring_timeout", { ms: 2_000 });
  const { caller } = await ask("call");
  await state(page, "ringing");
  await page.waitForSelector("text=You did not answer in time");
  await ask("hang_up", { caller });
  await everyLook(page, "agent-missed", ["en"]);
  await page.click("text=Ready again");
  await page.waitForSelector("text=The next call comes to you by itself");
  await ask("ring_timeout", { ms: 20_000 });
}

/** The registrar is gone: hang-up by REST within a second. */
async function hangUpWithoutSignalling(page) {
  await ask("call");
  await state(page, "ringing");
  await page.waitForSelector("button:has-text('Answer'):enabled");
  await page.keyboard.press("F8");
  await state(page, "talking");
  await hears(page, given.caller_hz);
  await ask("kill_registrar");
  await page.waitForSelector("text=Phone disconnected");
  const began = Date.now();
  await page.keyboard.press("F9");
  await state(page, "wrapping_up");
  const took = Date.now() - began;
  figure("console_hang_up_by_rest", took, "ms");
  check(took < 1_500, `the hang-up took ${took} ms`);
  await ask("start_registrar");
  await page.waitForSelector("text=Phone ready");
  await finish(page);
}

/** Ask first, all three, hand over; the caller then hears the second agent. */
async function consult(ada, bruno) {
  await status(bruno, "Break");
  const { caller } = await ask("call");
  await state(ada, "ringing");
  await ada.waitForSelector("button:has-text('Answer'):enabled");
  await ada.keyboard.press("F8");
  await state(ada, "talking");
  await hears(ada, given.caller_hz);
  await status(bruno, "Ready");
  await ada.click("button:has-text('Transfer')");
  if ((await ada.locator(".choice:has-text('Bruno')").count()) > 0) await ada.click(".choice:has-text('Bruno')");
  else return ask("hang_up", { caller }).then(() => finish(ada));
  await ada.click("text=Ask first");
  await state(bruno, "ringing");
  await bruno.waitForSelector("button:has-text('Answer'):enabled");
  await bruno.keyboard.press("F8");
  await state(bruno, "talking");
  await ada.waitForSelector("button:has-text('Hand over'):enabled");
  await everyLook(ada, "agent-consult", ["en", "de"]);
  await ada.click("text=Hand over");
  await state(ada, "wrapping_up");
  await hears(bruno, given.caller_hz);
  await ask("hang_up", { caller });
  await finish(ada);
  await finish(bruno);
}

/** Three tabs are one phone; when the owner crashes, the next one has it. */
async function tabs(context, first) {
  const second = await context.newPage();
  await second.goto(`${given.url}/agent`);
  await second.waitForSelector("text=Phone in another tab");
  const third = await context.newPage();
  await third.goto(`${given.url}/agent`);
  await third.waitForSelector("text=Phone in another tab");
  const registers = await Promise.all([second, third].map((page) => page.evaluate(() => window.seen.registers)));
  check(registers.every((count) => count === 0), "a tab without the phone registered");
  const began = Date.now();
  await first.close({ runBeforeUnload: false });
  await second.waitForSelector("text=Phone ready");
  figure("console_phone_taken_over", Date.now() - began, "ms");
  check(Date.now() - began < 3_000, "the next tab took the phone late");
  await third.click("text=Move phone here");
  await third.waitForSelector("text=Phone ready");
  await second.waitForSelector("text=Phone in another tab");
  await second.close();
  return third;
}

await play(async (browser) => {
  await microphoneDenied(browser);
  const context = await person(browser);
  const ada = await startsWithOneGesture(context);
  await everyLook(ada, "agent-ready");
  const caller = await offerAndAnswer(ada);
  await controls(ada, caller);
  await wrapUp(ada, caller);
  await missed(ada);
  await hangUpWithoutSignalling(ada);
  const latencies = await ada.evaluate(() => window.seen.latencies);
  const p95 = percentile(latencies, 0.95);
  figure("console_commit_to_pixel_p95", p95, "ms");
  check(latencies.length >= 5 && p95 <= 200, `commit to pixel: p95 ${p95} ms of ${latencies.length}`);
  const other = await person(browser);
  const bruno = await signIn(other, "bruno");
  await bruno.waitForURL("**/agent");
  await startWork(bruno);
  await consult(ada, bruno);
  await status(bruno, "End work");
  await bruno.waitForSelector("form button.primary");
  const last = await tabs(context, ada);
  await accessible(last, "the desk after all");
  check((await heard(last)) === 0, "sound without a call");
  await status(last, "End work");
  await last.waitForSelector("form button.primary");
});
