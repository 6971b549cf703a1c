// The dashboard in a real browser against a running server: set-up, first event, live counts, issue page, log-out.
//
// Reads MESHER_URL, MESHER_SETUP_LINK and MESHER_DSN; without them it starts the mock. SCREENSHOT_DIR, when set, gets
// pictures. Every wait is for a condition and bounded; any console error (a CSP violation is one) fails the run.
import { spawn, execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const waitMs = Number(process.env.MESHER_E2E_WAIT_MS ?? 20_000);
const account = { name: "Ada Lovelace", email: "ada@example.org", password: "correct horse battery" };
const here = fileURLToPath(new URL(".", import.meta.url));
const fixture = JSON.parse(readFileSync(join(here, "../fixtures/event.json"), "utf8"));
const shots = process.env.SCREENSHOT_DIR;
const run = randomUUID().slice(0, 8);

function findBrowser() {
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    try {
      return execFileSync("which", [name], { encoding: "utf8" }).trim();
    } catch {
      // Not this one.
    }
  }
  throw new Error("no Chromium on PATH: install the package chromium");
}

/** Starts the mock and resolves with what it printed. */
function startMock() {
  const child = spawn(process.execPath, [join(here, "mock.mjs")], { env: { ...process.env, MOCK_PORT: "0" }, stdio: ["ignore", "pipe", "inherit"] });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.stdout.once("data", (data) => {
      const printed = JSON.parse(data);
      resolve({ url: printed.url, setup: printed.setup, dsn: printed.dsn, stop: () => child.kill() });
    });
  });
}

function fromEnvironment() {
  const { MESHER_URL: url, MESHER_SETUP_LINK: setup, MESHER_DSN: dsn } = process.env;
  if (!url || !setup || !dsn) return null;
  return { url: url.replace(/\/$/, ""), setup, dsn, stop: () => {} };
}

const steps = [];
async function step(name, action) {
  process.stdout.write(`  ${name} … `);
  const value = await action();
  steps.push(name);
  console.log("ok");
  return value;
}

function check(condition, message) {
  if (!condition) throw new Error(message);
}

const target = fromEnvironment() ?? (await startMock());
const dsn = new URL(target.dsn);
const publicKey = dsn.username;
const projectNumber = dsn.pathname.replaceAll("/", "");

async function sendNative(event) {
  const response = await fetch(`${target.url}/api/v1/events`, { method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${publicKey}` }, body: JSON.stringify(event) });
  check(response.status === 202, `native event answered ${response.status}: ${await response.clone().text()}`);
  return (await response.json()).id;
}

async function sendEnvelope(event) {
  const id = randomUUID().replaceAll("-", "");
  const payload = JSON.stringify({ ...event, event_id: id, timestamp: Date.now() / 1000 });
  const text = [JSON.stringify({ event_id: id, dsn: target.dsn }), JSON.stringify({ type: "event", length: Buffer.byteLength(payload) }), payload, ""].join("\n");
  const response = await fetch(`${target.url}/api/${projectNumber}/envelope/`, { method: "POST", headers: { "content-type": "application/x-sentry-envelope", "x-sentry-auth": `Sentry sentry_version=7, sentry_key=${publicKey}, sentry_client=mesher-e2e/1` }, body: text });
  check(response.status === 200, `envelope answered ${response.status}: ${await response.text()}`);
  return id;
}

/** Sends one item that is no event. */
async function sendItem(id, type, value) {
  const payload = JSON.stringify(value);
  const text = [JSON.stringify({ event_id: id }), JSON.stringify({ type, length: Buffer.byteLength(payload) }), payload, ""].join("\n");
  const response = await fetch(`${target.url}/api/${projectNumber}/envelope/?sentry_key=${publicKey}`, { method: "POST", body: text });
  check(response.status === 200, `${type} answered ${response.status}: ${await response.text()}`);
}

const profile = mkdtempSync(join(tmpdir(), "mesher-e2e-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: findBrowser(),
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  viewport: { width: 1360, height: 860 },
  colorScheme: "light",
});
context.setDefaultTimeout(waitMs);
const page = context.pages()[0] ?? (await context.newPage());
const problems = [];
/** The browser logs every refused request; the one refusal we provoke ourselves is expected. */
let refusalExpected = false;
page.on("console", (message) => {
  if (message.type() !== "error" && message.type() !== "warning") return;
  if (refusalExpected && message.text().includes("401")) return;
  problems.push(`${message.type()}: ${message.text()}`);
});
page.on("pageerror", (error) => problems.push(`uncaught: ${error.message}`));

async function shoot(name) {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
    await page.screenshot({ path: join(shots, `${name}-${scheme}.png`) });
  }
  await page.setViewportSize({ width: 390, height: 844 });
  await page.screenshot({ path: join(shots, `${name}-phone.png`) });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check(wide <= 0, `${name} scrolls sideways on a phone by ${wide}px`);
  await page.setViewportSize({ width: 1360, height: 860 });
  await page.emulateMedia({ colorScheme: "light", reducedMotion: null });
}

const row = (text) => page.locator("[data-issue]", { hasText: text });
const countIs = (locator, value) => locator.locator("[data-count]", { hasText: new RegExp(`^${value}$`) }).waitFor();
const nativeMessage = `Hello from the native door ${run}`;
// A type of its own for each run, so that the run can be repeated against one server.
const exceptionType = `PaymentDeclined${run.replaceAll(/[^a-z]/g, "")}`;
const crash = structuredClone(fixture);
crash.exception.values[1].type = exceptionType;

try {
  await step("the set-up link asks for an account", async () => {
    await page.goto(target.setup);
    await page.getByRole("heading", { name: "Set up Mesher" }).waitFor();
    await shoot("setup");
  });
  await step("the account is made and the snippets stand there", async () => {
    await page.getByLabel("Name").fill(account.name);
    await page.getByLabel("E-mail").fill(account.email);
    await page.getByLabel("Password").fill(account.password);
    await page.getByRole("button", { name: "Create the account" }).click();
    await page.getByText("Waiting for the first event").waitFor();
    check((await page.locator("[data-dsn]").textContent()) === target.dsn, "the page shows another DSN than the server printed");
    for (const language of ["Node", "curl", "Python"]) await page.getByRole("tab", { name: language }).click();
    await shoot("first-event");
  });
  await step("without events the list is empty and helps", async () => {
    await page.getByRole("link", { name: "Skip to the dashboard" }).click();
    await page.locator("[data-empty] [data-dsn]").waitFor();
    await page.getByText("Live", { exact: true }).waitFor();
    await shoot("empty");
  });
  await step("a native event appears without a reload", async () => {
    await page.evaluate(() => Object.assign(window, { notReloaded: true }));
    await sendNative({ level: "warning", message: nativeMessage, tags: { door: "native" } });
    await row(nativeMessage).waitFor();
  });
  await step("an envelope appears without a reload", async () => {
    await sendEnvelope(crash);
    await countIs(row(exceptionType), 1);
  });
  await step("a second copy raises the count", async () => {
    await sendEnvelope(crash);
    await countIs(row(exceptionType), 2);
    check(await page.evaluate(() => window.notReloaded === true), "the page was reloaded");
    await shoot("issues");
  });
  await step("j and Enter open the issue, with its stack trace", async () => {
    await page.locator("body").click({ position: { x: 700, y: 850 } });
    await page.mouse.move(700, 855);
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: exceptionType }).waitFor();
    const trace = page.locator("[data-stack-trace]").first();
    await trace.getByText("charge", { exact: true }).first().waitFor();
    await trace.getByText("raise PaymentDeclined(", { exact: false }).first().waitFor();
    await trace.getByText("ConnectionResetError(104").waitFor();
    await page.getByText("caused by").waitFor();
    await page.getByText("Grouped by the calls").waitFor();
    await page.getByRole("heading", { name: "Breadcrumbs" }).waitFor();
    await page.getByText("shop.payments", { exact: true }).first().waitFor();
    await shoot("issue");
  });
  await step("the issue page counts live and leads to the new event", async () => {
    await sendEnvelope(crash);
    await countIs(page.locator("#content"), 3);
    const before = await page.locator(".navigator code").getAttribute("title");
    await page.getByRole("button", { name: "1 new event" }).click();
    await page.waitForFunction((old) => document.querySelector(".navigator code")?.getAttribute("title") !== old, before);
    await page.getByRole("button", { name: "Older" }).click();
    await page.waitForFunction((old) => document.querySelector(".navigator code")?.getAttribute("title") === old, before);
  });
  await step("resolving takes it off the list", async () => {
    await page.getByRole("button", { name: "Resolve" }).click();
    await page.getByText("Resolved", { exact: true }).first().waitFor();
    await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Issues" }).click();
    await row(nativeMessage).waitFor();
    await row(exceptionType).waitFor({ state: "detached" });
    await page.getByText("All", { exact: true }).click();
    await row(exceptionType).getByText("Resolved").waitFor();
  });
  await step("a new event regresses it", async () => {
    await sendEnvelope(crash);
    await row(exceptionType).getByText("Regressed").waitFor();
    await countIs(row(exceptionType), 4);
  });
  await step("archiving works and the filter finds it", async () => {
    await row(nativeMessage).getByRole("link").click();
    await page.getByRole("button", { name: "Archive" }).click();
    await page.getByText("Archived", { exact: true }).first().waitFor();
    await page.goBack();
    await page.getByText("Archived", { exact: true }).first().click();
    await row(nativeMessage).waitFor();
  });
  await step("the live stream shows events, pauses and resumes", async () => {
    await page.getByRole("link", { name: "Live stream" }).click();
    await page.getByText("Listening").waitFor();
    await sendEnvelope(crash);
    await page.locator("[data-event]", { hasText: exceptionType }).first().waitFor();
    await page.getByRole("button", { name: "Pause" }).click();
    await sendNative({ level: "info", message: `While paused ${run}` });
    await page.getByRole("button", { name: "Resume, 1 waiting" }).click();
    await page.locator("[data-event]", { hasText: `While paused ${run}` }).waitFor();
    await shoot("live");
  });
  await step("the intake tells every end, what users wrote and what the SDK dropped, and its limits can be changed", async () => {
    const id = await sendEnvelope(crash);
    const words = `It broke when I paid ${run}`;
    await sendItem(id, "user_report", { event_id: id, name: "Grace", email: "grace@example.org", comments: words });
    await sendItem(id, "client_report", { timestamp: Date.now() / 1000, discarded_events: [{ reason: "before_send", category: "error", quantity: 812 }] });
    await page.getByRole("link", { name: "Intake" }).click();
    // Counts are stored within a second or two, and the page looks again by itself.
    await page.locator("[data-dropped]", { hasText: "812" }).first().waitFor();
    await page.getByRole("row", { name: /Stored/ }).first().waitFor();
    await page.locator("[data-report]", { hasText: words }).waitFor();
    await page.getByLabel("Events a second, the whole project").fill("100000");
    await page.getByRole("button", { name: "Save the limits" }).click();
    await page.getByText("Saved").waitFor();
    await shoot("intake");
    await page.locator("[data-report]", { hasText: words }).getByRole("link").click();
    await page.locator("[data-report]", { hasText: words }).waitFor();
  });
  await step("the theme can be chosen and is remembered", async () => {
    await page.getByRole("button", { name: "Use the dark theme" }).click();
    await page.reload();
    await page.getByRole("button", { name: "Use the light theme" }).click();
    await page.getByRole("button", { name: "Use the dark theme" }).waitFor();
  });
  await step("signing out leads to the log-in, and a wrong password is refused", async () => {
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Log in" }).waitFor();
    await shoot("login");
    refusalExpected = true;
    await page.getByLabel("E-mail").fill(account.email);
    await page.getByLabel("Password").fill("wrong password");
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("alert").waitFor();
    refusalExpected = false;
  });
  await step("logging in leads back", async () => {
    await page.goto(`${target.url}/projects/default/live`);
    await page.getByRole("heading", { name: "Log in" }).waitFor();
    await page.getByLabel("E-mail").fill(account.email);
    await page.getByLabel("Password").fill(account.password);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("heading", { name: "Live stream" }).waitFor();
    await page.goto(target.url);
    await row(exceptionType).waitFor();
  });
  check(problems.length === 0, `the console complained:\n${problems.join("\n")}`);
  console.log(`${steps.length} steps passed`);
} catch (error) {
  console.log("FAILED");
  console.error(error instanceof Error ? error.message : error);
  if (problems.length > 0) console.error(`console:\n${problems.join("\n")}`);
  if (shots) {
    mkdirSync(shots, { recursive: true });
    await page.screenshot({ path: join(shots, "failure.png") });
  }
  process.exitCode = 1;
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
  target.stop();
}
