// An administrator's pages: every kind of object is made, changed and removed by clicks and typing.
import { check, everyLook, given, oneLook, person, play, signIn, until } from "./stage.mjs";

let page;
const go = async (kind) => {
  await page.goto(`${given.url}/admin/${kind}`);
  await page.waitForSelector("main h1");
};
const saved = () => page.waitForSelector("text=Saved.");

/** Makes an object by its form; fields by name. */
async function make(kind, fields) {
  await go(kind);
  await page.click("text='New'");
  for (const [name, value] of Object.entries(fields)) {
    const input = page.locator(`#f-${name}`);
    const select = (await input.evaluate((element) => element.tagName)) === "SELECT";
    if (select) await input.selectOption({ label: value });
    else await input.fill(value);
  }
  await page.click("form button.primary");
  await page.waitForSelector("text='Delete'");
}

async function everyKind() {
  await make("skills", { name: "Spanish", description: "Spoken and written" });
  await make("queues", { name: "Ventas", requirements: "Spanish" });
  await make("agents", { name: "Clara Weiß", skills: "Spanish" });
  await make("users", { login: "clara", name: "Clara Weiß", password: "correct horse battery", role: "Agent", agent: "Clara Weiß" });
  await make("trunks", { name: "Second", sources: "198.51.100.7\n198.51.100.8", destination: "198.51.100.7:5060" });
  await make("routes", { did: "+34915550134", queue: "Ventas", trunk: "Second" });
  await make("outbound", { prefix: "+34", trunks: "Second", strip: "+" });
  for (const [kind, text] of [["skills", "Spoken and written"], ["queues", "Spanish ≥ 1"], ["agents", "Spanish 5"], ["users", "clara"], ["trunks", "198.51.100.8"], ["routes", "Ventas"], ["outbound", "Second"]]) {
    await go(kind);
    await page.waitForSelector(`td:has-text("${text}")`);
    await everyLook(page, `admin-${kind}`, kind === "queues" ? undefined : ["en", "de"]);
  }
}

/** What the server does not accept stands beside its field, and the field has the focus. */
async function faults() {
  await go("users");
  await page.click("text='New'");
  await page.fill("#f-login", "two words");
  await page.fill("#f-name", "Somebody");
  await page.fill("#f-password", "correct horse battery");
  await page.selectOption("#f-role", "supervisor");
  await page.click("form button.primary");
  await page.waitForSelector("#f-login[aria-invalid=true]");
  check((await page.textContent("#f-login-fault")).length > 3, "no reason beside the field");
  await until(() => page.evaluate(() => document.activeElement?.id === "f-login"), "the field has the focus");
  await everyLook(page, "admin-fault", ["en", "es"]);
}

/** Two editors: what each changed is kept; where both changed one field, the second chooses. */
async function twoEditors() {
  await go("queues");
  await page.click("a:has-text('Ventas')");
  await page.waitForSelector("#f-priority");
  const other = await page.context().newPage();
  await other.goto(page.url());
  await other.fill("#f-priority", "9");
  await other.fill("#f-wrap_up_ms", "45");
  await other.click("form button.primary");
  await other.waitForSelector("text=Saved.");
  await other.close();
  await page.fill("#f-service_level_ms", "12");
  await page.fill("#f-priority", "5");
  await page.click("form button.primary");
  await page.waitForSelector("text=Somebody else changed this meanwhile");
  await page.waitForSelector("text=Now: 9");
  check((await page.inputValue("#f-wrap_up_ms")) === "45", "the other's change is lost");
  await oneLook(page, "admin-conflict");
  await page.click("form button.primary");
  await saved();
  await page.reload();
  await page.waitForSelector("#f-priority");
  const values = await Promise.all(["priority", "service_level_ms", "wrap_up_ms"].map((name) => page.inputValue(`#f-${name}`)));
  check(values.join() === "5,12,45", `after both: ${values.join()}`);
}

async function matrix() {
  await go("matrix");
  const cell = page.locator("input[aria-label='Ada Marín: Spanish']");
  await cell.fill("8");
  await cell.press("ArrowDown");
  await page.check("input[aria-label='Choose Clara Weiß']");
  await page.check("input[aria-label='Choose Ada Marín']");
  await page.selectOption(".tools select", "English");
  await page.fill(".tools .level", "3");
  await page.click("text=Set level");
  await until(async () => (await page.inputValue("input[aria-label='Clara Weiß: English']")) === "3", "many levels at once");
  await page.reload();
  await until(async () => (await page.inputValue("input[aria-label='Ada Marín: Spanish']")) === "8", "the level of one");
  await everyLook(page, "admin-matrix", ["en", "de"]);
}

async function tokens() {
  await go("users");
  await page.click("td >> a:has-text('clara')");
  await page.fill("section input", "crm");
  await page.click("section button:has-text('Create')");
  await page.waitForSelector("text=Shown this once");
  await page.click("button:has-text('Revoke')");
  await until(async () => (await page.locator("button:has-text('Revoke')").count()) === 0, "the token is revoked");
}

async function recordings() {
  await go("recordings");
  await page.click("button:has-text('Listen') >> nth=0");
  await page.waitForSelector(".player svg path");
  const seconds = await page.evaluate(
    () =>
      new Promise((done) => {
        const audio = document.querySelector("audio");
        audio.addEventListener("loadedmetadata", () => done(audio.duration));
        audio.addEventListener("error", () => done(-1));
        audio.load();
        audio.preload = "metadata";
      }),
  );
  check(seconds > 0.5, `the recording lasts ${seconds} s`);
  await everyLook(page, "admin-recordings", ["en", "es"]);
}

/** Removal wants the name, and says what uses it. */
async function removal() {
  await go("trunks");
  await page.click("a:has-text('Second')");
  await page.click("text='Delete'");
  await page.waitForSelector("text=Used by: +34915550134, +34");
  check(await page.isDisabled(".remove button.danger"), "it can be removed without its name");
  await go("outbound");
  await page.click("td >> a");
  await page.click("text='Delete'");
  await page.fill("#remove-name", "+34");
  await page.click(".remove button.danger");
  await page.waitForSelector("text=None yet.");
}

await play(async (browser) => {
  const context = await person(browser);
  page = await signIn(context, "tom");
  await page.click("a[href='/admin']");
  await page.waitForURL("**/admin/users");
  await everyKind();
  await faults();
  await twoEditors();
  await matrix();
  await tokens();
  await recordings();
  await removal();
  await go("installation");
  await page.waitForSelector("text=The router runs version");
  await everyLook(page, "admin-installation", ["en", "pt"]);
});
