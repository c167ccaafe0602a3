// Signs in, asks in the explorer and in SQL, and says what there was to see.
import { given, tell } from "./visit.mjs";

tell(async (visit) => {
  const page = await visit.page();

  // The first load, from nothing.
  let bytes = 0;
  /** @type {string[]} */
  const files = [];
  page.on("requestfinished", async (request) => {
    const { responseBodySize } = await request.sizes();
    bytes += responseBodySize;
  });
  // When they are asked for: what they show is there before it is known how long they were.
  page.on("request", (request) => files.push(new URL(request.url()).pathname));
  await page.goto(`${visit.origin}/`, { waitUntil: "networkidle" });
  const address = new URL(page.url()).pathname;
  await visit.checkBoth(page, "sign in");
  await visit.picture(page, "sign-in");

  await page.getByLabel("API key").fill("pnsk_live_nothing");
  await page.getByRole("button", { name: "Sign in" }).click();
  const refused = await page.locator(".hint.wrong").textContent();

  await visit.signIn(page, given("PENSTOCK_KEY"));
  await page.locator(".totals dd").first().waitFor();
  const first = { bytes, files: files.length };
  const pages = await page.getByRole("navigation").getByRole("link").allTextContents();
  await page.locator(".account summary").click();
  const may = await page.locator(".account li").allTextContents();
  await page.locator(".account summary").click();

  // A question, put together by hand.
  const combobox = (/** @type {string} */ name) => page.getByRole("combobox", { name });
  const table = page.getByRole("region", { name: "as a table" });
  await page.getByLabel("Measure 1", { exact: true }).selectOption("Sum of");
  await combobox("Property of measure 1").fill("amo");
  await page.getByRole("option", { name: /^amount/ }).click();
  await page.getByRole("button", { name: "Add dimension" }).click();
  await combobox("Dimension 1").fill("status");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Add filter" }).click();
  await combobox("Field of filter 1").fill("event_type");
  await page.keyboard.press("Enter");
  await combobox("Value of filter 1").fill("sale");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Bar" }).click();
  await table.getByRole("columnheader", { name: "status" }).waitFor();
  await page.locator(".result:not(.stale)").waitFor();
  const bars = { total: await page.locator(".totals dd").first().textContent(), rows: await visit.rows(table) };
  await visit.checkBoth(page, "explorer, bars");
  await visit.picture(page, "explorer-bars");
  await page.getByRole("button", { name: "Line" }).click();
  await page.locator(".chart canvas").waitFor();
  await visit.checkBoth(page, "explorer, lines");
  await visit.picture(page, "explorer");
  // All of it is in the address; until there is an answer, that one is waited for.
  let release = () => {};
  const held = new Promise((resolve) => {
    release = () => resolve(undefined);
  });
  await page.route("**/penstock.v1.QueryService/Query*", async (route) => {
    await held;
    await route.continue();
  });
  await page.reload();
  const asking = page.getByRole("status").filter({ hasText: "Asking" });
  await asking.waitFor();
  const waiting = await asking.textContent();
  await visit.checkBoth(page, "explorer, waiting");
  await visit.picture(page, "explorer-waiting");
  release();
  await page.unrouteAll({ behavior: "wait" });
  await page.locator(".chart canvas").waitFor();
  const again = await page.locator(".totals dd").first().textContent();

  await page.getByLabel("Measure 1", { exact: true }).selectOption("Formula");
  await page.getByLabel("Formula of measure 1").fill("SUM(amuont) / 2");
  const wrong = page.locator(".formula-fault");
  await wrong.waitFor();
  const mistake = { at: await wrong.locator("mark").textContent(), message: await wrong.locator("p").textContent() };
  await visit.checkBoth(page, "explorer, a mistake");
  await visit.picture(page, "explorer-mistake");
  await page.getByLabel("Formula of measure 1").fill("SUM(amount) / 2");
  await page.locator(".totals dd").first().waitFor();

  // SQL, whose editor comes only now.
  const before = files.length;
  await page.getByRole("link", { name: "SQL" }).click();
  const editor = page.getByRole("textbox", { name: "SQL" });
  await editor.waitFor();
  const isLazy = files.slice(before).some((path) => path.endsWith(".js"));
  const type = async (/** @type {string} */ text) => {
    await editor.click();
    await page.keyboard.press("ControlOrMeta+a");
    await page.keyboard.type(text);
  };
  await type("SELECT am");
  const completion = page.locator(".cm-tooltip-autocomplete li", { hasText: "amount" });
  // The editor may be there before it is known which fields there are: then nothing fits, and whoever wants one asks again.
  while (!(await completion.first().isVisible())) await page.keyboard.press("Control+Space");
  const completed = await completion.first().textContent();
  await page.keyboard.press("Escape");
  await type("SELECT COUNT(*) AS n FROM events WHERE amuont > 1");
  // Who types slowly sees the mistakes of what isn't finished, until the whole is checked.
  const underlined = page.locator(".cm-lintRange-error", { hasText: /^amuont$/ });
  await underlined.waitFor();
  const underlinedText = await underlined.textContent();
  await type(
    "SELECT status, COUNT(*) AS n, SUM(amount) AS amount FROM events WHERE event_type = 'sale' GROUP BY status ORDER BY amount DESC",
  );
  await page.keyboard.press("ControlOrMeta+Enter");
  await page.getByRole("region", { name: "Rows" }).waitFor();
  const sql = await visit.rows(page.getByRole("region", { name: "Rows" }));
  await visit.checkBoth(page, "sql");
  await visit.picture(page, "sql");
  await page.getByRole("button", { name: "Explain" }).click();
  await page.locator(".stage").first().waitFor();
  const stages = await page.locator(".stage strong").allTextContents();
  await page.getByRole("button", { name: "Analyze" }).click();
  await page.getByRole("heading", { name: "Took" }).waitFor();
  await visit.checkBoth(page, "explain");
  await visit.picture(page, "explain");

  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("API key").waitFor();
  const kept = await page.evaluate(() => window.sessionStorage.getItem("penstock.key"));

  // The same in the dark.
  const dark = await visit.page("dark");
  await visit.signIn(dark, given("PENSTOCK_KEY"), "/console/explore");
  await dark.locator(".chart canvas").waitFor();
  await visit.check(dark, "explorer, dark");
  await visit.picture(dark, "explorer-dark");

  return {
    address,
    first,
    refused,
    waiting,
    pages,
    may,
    bars,
    again,
    mistake,
    isLazy,
    completed,
    underlinedText,
    sql,
    stages,
    kept,
  };
});
