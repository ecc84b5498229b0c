// A blank installation, one browser, only clicks and typing: to the first answered call.
import { ask, check, everyLook, figure, given, hears, person, play, signIn } from "./stage.mjs";

await play(async (browser) => {
  const context = await person(browser);
  const began = Date.now();
  const first = await context.newPage();
  await first.goto(given.url);
  await first.waitForSelector("#login");
  await everyLook(first, "sign-in");
  await first.close();
  const page = await signIn(context, "admin");
  await page.click("a[href='/admin']");
  await page.waitForURL("**/admin/guide");
  await everyLook(page, "guide-blank");
  const step = async (fields) => {
    for (const [name, value] of Object.entries(fields)) await page.fill(`#g-${name}`, value);
    await page.click("main button.primary");
  };
  await step({ name: "Acme", realm: given.realm });
  await page.waitForSelector("#g-queue");
  await step({ queue: "Sales" });
  await page.waitForSelector("#g-agent");
  await step({ agent: "Ada Marín", login: "ada", password: given.password });
  await page.waitForSelector("#g-carrier");
  await step({ carrier: "Carrier", sources: given.carrier, number: "100" });
  await page.waitForSelector("text=Sign in as ada");
  await everyLook(page, "guide-last", ["en", "de"]);
  await page.click("main button.primary");
  await page.waitForSelector("#login");
  await page.fill("#login", "ada");
  await page.fill("#password", given.password);
  await page.click("form button.primary");
  await page.waitForURL("**/agent");
  await page.click("form button.primary");
  await page.waitForSelector("text=Phone ready");
  await ask("trunk");
  const { caller } = await ask("call");
  await page.waitForSelector('article[data-state="ringing"]');
  await page.click("button:has-text('Answer'):enabled");
  await page.waitForSelector('article[data-state="talking"]');
  await hears(page, given.caller_hz);
  check((await ask("caller_hears", { caller, hz: given.hz })).yes, "the caller does not hear the agent");
  await page.waitForSelector("text=Sales");
  figure("console_first_use", ((Date.now() - began) / 1000).toFixed(1), "s");
  await ask("hang_up", { caller });
  await page.waitForSelector('article[data-state="wrapping_up"]');
});
