// A supervisor's board: agents and calls live, why a call waits, stepping in, forced status, alarms, the wallboard, a large tenant.
import { accessible, ask, check, everyLook, figure, given, hears, percentile, person, play, signIn, until } from "./stage.mjs";

const startWork = async (page) => {
  await page.waitForURL("**/agent");
  await page.click("form button.primary");
  await page.waitForSelector("text=Phone ready");
};
const state = (page, wanted) => page.waitForSelector(`article[data-state="${wanted}"]`);

async function answer(page) {
  await state(page, "ringing");
  await page.waitForSelector("button:has-text('Answer'):enabled");
  await page.keyboard.press("F8");
  await state(page, "talking");
}

/** Somebody calls for a skill that nobody has: the board says so, and raises the alarm only after its time. */
async function explains(board) {
  const { caller } = await ask("call", { number: "200" });
  await board.click("nav >> text=Calls");
  await board.click(".line:has-text('Waiting')");
  await board.waitForSelector("text=Nobody has Spanish ≥ 5.");
  check((await board.locator("text=nobody who could take them is at work").count()) === 0, "the alarm came before its time");
  await everyLook(board, "supervisor-explain", ["en", "de"]);
  await board.waitForSelector("text=nobody who could take them is at work", { timeout: 25_000 });
  await board.click(".banner:has-text('nobody who could take') >> text=Acknowledge");
  await board.waitForSelector("text=acknowledged");
  await board.selectOption("aside select", { label: "Support" });
  await board.click("aside >> text='Move'");
  await board.waitForSelector(".line:has-text('Support')");
  await ask("hang_up", { caller });
}

/** Listen: the supervisor hears the caller and is not heard. Join: the caller hears the supervisor. */
async function stepsIn(board, ada) {
  const { caller } = await ask("call");
  await answer(ada);
  await board.click("nav >> text=Calls");
  await board.click(".line:has-text('Ada')");
  await board.click("aside >> text='Listen'");
  await board.waitForSelector("text=You are listening");
  await hears(board, given.caller_hz);
  await everyLook(board, "supervisor-listening", ["en", "pt"]);
  await board.click("aside >> text='Join'");
  await board.waitForSelector("text=You are joined");
  await ada.waitForSelector("text=In this call");
  await board.click("aside >> text=Leave the call");
  await until(async () => (await board.locator("text=You are joined").count()) === 0, "the supervisor is out");
  check((await ask("caller_hears", { caller, hz: given.hz })).yes, "the call did not go on");
  await ask("hang_up", { caller });
  await state(ada, "wrapping_up");
  await board.click("nav >> text=Ended");
  await board.click(".line >> nth=0");
  await board.waitForSelector(".story >> text=Offered to Ada Marín");
  await board.waitForSelector(".story >> text=Ended: Caller hung up");
  await everyLook(board, "supervisor-story", ["en", "es"]);
}

/** The status a supervisor sets is on the agent's screen at once. */
async function forces(board, ada) {
  await ada.selectOption("#result", "solved");
  await ada.keyboard.press("Control+Enter");
  await state(ada, "none");
  await board.click("nav >> text=Agents");
  await board.click(".line:has-text('Ada')");
  await board.selectOption("aside select", "meeting");
  await board.click("aside button:has-text('Set status')");
  const began = Date.now();
  await ada.waitForSelector("header >> text=Meeting");
  figure("console_forced_status_shown", Date.now() - began, "ms");
  check(Date.now() - began < 1_000, "the agent saw the forced status late");
  await board.click("nav >> text=Agents");
  await everyLook(board, "supervisor-agents");
  await board.keyboard.press("Escape");
  await board.fill("input[type=search]", "Ada");
  await board.reload();
  await board.waitForSelector(".line:has-text('Ada')");
  check((await board.inputValue("input[type=search]")) === "Ada", "the address does not hold the filter");
}

/** 5,000 agents, 100 changes a second: few rows are drawn, and frames stay short. The notifier is played here, nothing else. */
async function large(browser) {
  const context = await person(browser);
  const page = await signIn(context, "sofia", given.password, "/?to=/supervisor");
  await page.waitForURL((url) => url.pathname === "/supervisor");
  const name = (at) => `Agent ${String(at).padStart(5, "0")}`;
  const agent = (at, talking, since) => ({
    id: `00000000-0000-4000-8000-${String(at).padStart(12, "0")}`, name: name(at), skills: { English: (at % 10) + 1 }, status: { kind: "ready" }, status_since_ms: since,
    state: talking ? { kind: "talking", interaction: "00000000-0000-4000-9000-000000000001", since_ms: since } : { kind: "idle" }, state_since_ms: since, available_since_ms: null, reachable: true,
    engagements: talking ? [{ interaction: "00000000-0000-4000-9000-000000000001", offer: null, state: "talking", since, deadline: null }] : [],
  });
  let seq = 1;
  await context.routeWebSocket(/\/ws$/, (socket) => {
    socket.onMessage(() => {
      for (let part = 1; part <= 10; part += 1) {
        const agents = Array.from({ length: 500 }, (_, at) => agent((part - 1) * 500 + at, at % 3 === 0, Date.now()));
        socket.send(JSON.stringify({ kind: "snapshot", position: { epoch: "e", seq }, cause: "first", part, last: part === 10, acd_open: true, agents, interactions: [] }));
      }
      const changing = setInterval(() => {
        seq += 1;
        const at = (seq * 37) % 5_000;
        socket.send(JSON.stringify({ kind: "event", seq, at_ms: Date.now(), event: { kind: "agent_changed", agent: agent(at, seq % 2 === 0, Date.now()) } }));
      }, 10);
      socket.onClose(() => clearInterval(changing));
    });
  });
  await page.goto(`${given.url}/supervisor`);
  await page.waitForSelector("text=5000 rows");
  const frames = await page.evaluate(
    () =>
      new Promise((done) => {
        const lengths = [];
        let before = performance.now();
        const tick = (now) => {
          lengths.push(now - before);
          before = now;
          if (lengths.length < 240) requestAnimationFrame(tick);
          else done(lengths.slice(10));
        };
        requestAnimationFrame(tick);
      }),
  );
  const rows = await page.locator(".line").count();
  figure("console_board_frame_p95", percentile(frames, 0.95).toFixed(1), "ms");
  figure("console_board_rows_drawn", rows, "rows");
  check(rows <= 60, `${rows} rows are drawn`);
  check(percentile(frames, 0.95) <= 50, `frames: p95 ${percentile(frames, 0.95)} ms`);
  await page.close();
  await context.close();
}

async function wallboard(context) {
  const page = await context.newPage();
  await page.goto(`${given.url}/wallboard`);
  await page.waitForSelector("dd");
  await page.waitForSelector("text=As of");
  await accessible(page, "wallboard");
  await page.setViewportSize({ width: 1920, height: 1080 });
  const height = await page.evaluate(() => parseFloat(getComputedStyle(document.querySelector("dd")).fontSize) / innerHeight);
  check(height >= 0.12, `figures are ${height} of the height`);
  await page.screenshot({ path: `${given.shots}/wallboard-1920.png` });
  await page.close();
}

await play(async (browser) => {
  const supervisor = await person(browser);
  const board = await signIn(supervisor, "sofia");
  await board.click("a[href='/supervisor']");
  await board.waitForSelector(".line:has-text('Ada')");
  await everyLook(board, "supervisor-quiet", ["en"]);
  await board.click("text=Connect phone");
  await board.waitForSelector("text=Phone ready");
  await explains(board);
  const other = await person(browser);
  const ada = await signIn(other, "ada");
  await startWork(ada);
  await stepsIn(board, ada);
  await forces(board, ada);
  await wallboard(supervisor);
  await large(browser);
});
