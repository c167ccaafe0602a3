// Follows events as they arrive: live, on a dashboard, in a metric's preview.
import { readFile } from "node:fs/promises";
import { given, tell } from "./visit.mjs";

tell(async (visit) => {
  const key = given("PENSTOCK_KEY");
  const send = async (/** @type {object[]} */ events) => {
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    const answer = await fetch(`${visit.origin}/v1/events`, { method: "POST", headers, body: JSON.stringify(events) });
    if (!answer.ok) throw new Error(await answer.text());
  };
  const sale = (/** @type {number} */ amount) => ({
    app_id: "xyz123",
    event_type: "sale",
    user_id: "u9",
    properties: { amount, status: "paid" },
  });
  const page = await visit.page();
  page.on("dialog", (dialog) => dialog.accept());
  await visit.signIn(page, key, "/console/live");

  await page.locator(".pulse.live").waitFor();
  await send([{ app_id: "xyz123", event_type: "ping", user_id: "somebody-just-now" }]);
  const row = page.getByRole("region", { name: "Events" }).locator("tr", { hasText: "somebody-just-now" });
  await row.waitFor();
  const live = await row.locator("td").nth(1).textContent();
  await visit.checkBoth(page, "live");
  await visit.picture(page, "live");

  // One type alone, then all of them again.
  const events = page.getByRole("region", { name: "Events" }).locator("tbody tr");
  const types = async () => [...new Set(await events.locator("td:nth-child(2)").allTextContents())].sort();
  await page.getByRole("combobox", { name: "Event type" }).fill("ping");
  await page.keyboard.press("Enter");
  const rate = page.locator(".rate dd").filter({ hasText: /^1$/ });
  await rate.waitFor();
  await row.waitFor();
  const filtered = { types: await types(), rate: await rate.textContent() };
  await visit.checkBoth(page, "live, one type");
  await page.getByRole("button", { name: "Every type" }).click();
  await events.filter({ hasText: "sale" }).first().waitFor();
  Object.assign(filtered, { all: await types() });

  // What comes while it is paused is shown elsewhere, and here when it goes on.
  await page.getByRole("button", { name: "Pause" }).click();
  const beside = await visit.page();
  await visit.signIn(beside, key, "/console/live");
  await beside.locator(".pulse.live").waitFor();
  await send([{ app_id: "xyz123", event_type: "ping", user_id: "while-paused" }]);
  await beside.getByRole("row").filter({ hasText: "while-paused" }).waitFor();
  const late = events.filter({ hasText: "while-paused" });
  const paused = {
    says: await page.locator(".pulse").textContent(),
    elsewhere: await beside.getByRole("row").filter({ hasText: "while-paused" }).count(),
    here: await late.count(),
    kept: await events.count(),
  };
  await beside.close();
  await visit.checkBoth(page, "live, paused");
  await visit.picture(page, "live-paused");
  await page.getByRole("button", { name: "Go on" }).click();
  await late.waitFor();
  Object.assign(paused, { later: await late.count() });

  // From a question to a tile that follows it.
  const question = {
    measures: [{ sort: "sum", field: "amount", formula: "", name: "Sales" }],
    by: ["status"],
    compare: "previous",
  };
  await page.goto(`${visit.origin}/console/explore?q=${encodeURIComponent(JSON.stringify(question))}`);
  await page.locator(".totals").waitFor();
  await page.getByRole("button", { name: "Add to dashboard" }).click();
  await visit.checkBoth(page, "add to dashboard");
  await page.getByLabel("Title").fill("Sales by status");
  await page.getByRole("dialog").getByRole("button", { name: "Add" }).click();
  const total = page.getByRole("region", { name: "Sales by status" }).locator(".totals dd").first();
  await total.waitFor();
  const before = await total.textContent();
  await send([sale(100), sale(200)]);
  await total.filter({ hasText: "1,452.5" }).waitFor();
  const after = await total.textContent();
  const series = page.getByRole("region", { name: "Sales by status" }).getByRole("list", { name: "Series" });
  const legend = await series.getByRole("listitem").allTextContents();
  await visit.checkBoth(page, "dashboard");
  await visit.picture(page, "dashboard");

  // Kept by the server: another browser with another key sees it, and can't change it.
  const made = await fetch(`${visit.origin}/v1/keys`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ permissions: ["PERMISSION_QUERY"] }),
  });
  const reader = await visit.page();
  await visit.signIn(reader, (await made.json()).secret, "/console/dashboards");
  const theirs = reader.getByRole("region", { name: "Sales by status" }).locator(".totals dd", { hasText: "1,452.5" });
  await theirs.waitFor();
  const read = [await theirs.textContent(), await reader.getByRole("button", { name: /Edit|New|Import/ }).count()];
  await visit.checkBoth(reader, "dashboard, to be read");
  await reader.close();

  // Two who change it at once don't overwrite each other.
  const other = await visit.page();
  await visit.signIn(other, key, "/console/dashboards");
  await other.getByRole("button", { name: "Edit" }).click();
  await other.getByLabel("Title of the dashboard").fill("Theirs");
  await page.getByRole("button", { name: "Edit" }).click();
  await page.getByLabel("Title of the dashboard").fill("Sales");
  await visit.checkBoth(page, "dashboard, edited");
  await visit.picture(page, "dashboard-edited");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("button", { name: "Edit" }).waitFor();
  await other.getByRole("button", { name: "Save" }).click();
  const conflict = await other.getByRole("alert").locator("p").textContent();
  await visit.checkBoth(other, "dashboard, changed by two");
  await visit.picture(other, "dashboard-conflict");
  await other.getByRole("button", { name: "Show theirs, drop mine" }).click();
  await other.getByRole("heading", { name: "Sales", exact: true }).waitFor();
  await other.getByRole("button", { name: "Edit" }).click();
  await other.getByLabel("Title of the dashboard").fill("All sales");
  await other.getByRole("button", { name: "Save" }).click();
  // The heading is what is written before it is saved.
  await other.getByRole("button", { name: "Edit" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "All sales" }).waitFor();
  await total.waitFor();
  // Its question opens as it was asked.
  await page.getByRole("link", { name: "Sales by status" }).click();
  await page.waitForURL(/\/console\/explore\?/);
  await page.locator(".totals").waitFor();
  const reopened = JSON.parse(new URL(page.url()).searchParams.get("q") ?? "{}");
  await page.getByRole("link", { name: "Dashboards" }).click();
  await total.waitFor();

  // Out of this house, and back.
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Export" }).click(),
  ]);
  const path = await download.path();
  const file = JSON.parse(await readFile(path, "utf8"));
  await page.getByRole("button", { name: "Edit" }).click();
  await page.getByRole("button", { name: "Delete dashboard" }).click();
  await page.getByRole("heading", { name: "No dashboard yet" }).waitFor();
  await page
    .locator("input[type=file]")
    .setInputFiles({ name: "x.json", mimeType: "application/json", buffer: Buffer.from("{}") });
  const refused = await page.getByRole("alert").textContent();
  await page.locator("input[type=file]").setInputFiles(path);
  await total.waitFor();
  const imported = await total.textContent();

  // What lay in a browser before the server kept dashboards is offered once.
  await other.evaluate(
    ([name, boards]) => localStorage.setItem(name ?? "", boards ?? ""),
    [
      "penstock.boards.demo.xyz123",
      JSON.stringify([
        { id: "old", title: "Old one", tiles: [{ id: "t", title: "By user", question: '{"by":["user_id"]}' }] },
      ]),
    ],
  );
  await other.reload();
  const offer = other.getByRole("region", { name: "Dashboards of this browser" });
  await offer.waitFor();
  await visit.checkBoth(other, "dashboards of this browser");
  await offer.getByRole("button", { name: "Move to the server" }).click();
  await other.getByLabel("Dashboard", { exact: true }).selectOption("Old one");
  await other.getByRole("region", { name: "By user" }).locator(".totals dd").first().waitFor();
  const moved = [await offer.count(), await other.evaluate(() => localStorage.getItem("penstock.boards.demo.xyz123"))];
  await other.close();

  // A metric, checked while it is written.
  await page.getByRole("link", { name: "Metrics" }).click();
  await page.getByRole("button", { name: "New metric" }).click();
  await page.getByLabel("Title").fill("Average sale");
  const formula = page.getByRole("textbox", { name: "Formula" });
  await formula.click();
  await page.keyboard.type("SUM(amuont) / COUNT(*)");
  await page.keyboard.press("Escape");
  // Who types slowly sees the mistakes of what isn't finished, until the whole is checked.
  const underlined = await page.locator(".cm-lintRange-error", { hasText: /^amuont$/ }).textContent();
  const isRefused = await page.getByRole("button", { name: "Define" }).isDisabled();
  await visit.checkBoth(page, "metric, a mistake");
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type("SUM(amount) / COUNT(*)");
  await page.keyboard.press("Escape");
  await page.getByLabel("Unit").fill("EUR");
  await page.getByRole("button", { name: "Add filter" }).click();
  await page.getByRole("combobox", { name: "Field of filter 1" }).fill("event_type");
  // As soon as it is known which fields there are.
  await page.getByRole("option", { name: /^event_type/ }).click();
  await page.getByRole("combobox", { name: "Value of filter 1" }).fill("sale");
  await page.keyboard.press("Enter");
  const previewed = page.locator(".metric .totals dd", { hasText: "€45.25" });
  await previewed.waitFor();
  await visit.checkBoth(page, "metric");
  await visit.picture(page, "metric");
  await page.getByRole("button", { name: "Define" }).click();
  const defined = page.getByRole("row", { name: "Average sale" });
  await defined.waitFor();
  const metric = await defined.locator("code").allTextContents();
  await visit.checkBoth(page, "metrics");
  await visit.picture(page, "metrics");

  // A dashboard with a range, and tiles of what no explorer asks.
  await page.getByRole("link", { name: "Dashboards" }).click();
  await page.getByRole("button", { name: "Edit" }).click();
  await page.getByLabel("What the dashboard is about").fill("What we sell");
  await page.getByLabel("Range of the dashboard").selectOption("7d");
  await page.getByRole("button", { name: "SELECT", exact: true }).click();
  const dialog = page.getByRole("dialog");
  const put = dialog.getByRole("button", { name: "Put it in" });
  await dialog.getByLabel("Title").fill("By hand");
  const select = "SELECT status, SUM(amount) AS total FROM events WHERE event_type = 'sale' GROUP BY status";
  await dialog.getByLabel("SELECT").fill(select.replace("amount", "amuont"));
  await put.click();
  const tried = await dialog.getByRole("alert").textContent();
  await visit.checkBoth(page, "tile of a SELECT");
  await dialog.getByLabel("SELECT").fill(select);
  await put.click();
  await page.getByRole("region", { name: "By hand", exact: true }).getByRole("cell", { name: "paid" }).waitFor();
  await page.getByRole("button", { name: "Metric", exact: true }).click();
  await dialog.getByLabel("Over time").selectOption("Total");
  await visit.checkBoth(page, "tile of a metric");
  await put.click();
  const average = page.getByRole("region", { name: "Average sale" }).locator(".totals dd", { hasText: "€45.25" });
  await average.waitFor();
  await visit.checkBoth(page, "dashboard with tiles of all sorts, edited");
  await visit.picture(page, "dashboard-tiles");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("button", { name: "Edit" }).waitFor();
  await page.reload();
  await average.waitFor();
  const paid = page.getByRole("region", { name: "By hand", exact: true }).getByRole("cell", { name: "paid" });
  await paid.waitFor();
  const board = [
    await page.getByText("What we sell").count(),
    await page.getByRole("region", { name: "Average sale" }).getByText("last 7 days").count(),
    await paid.count(),
  ];
  // It follows its events as the others do.
  const followed = page.getByRole("region", { name: "Average sale" }).locator(".totals dd");
  await send([sale(1_000), sale(1_000), sale(1_000)]);
  await followed.filter({ hasNotText: "€45.25" }).waitFor();

  return {
    live,
    filtered,
    paused,
    before,
    after,
    legend,
    read,
    conflict,
    reopened,
    moved,
    file: [file.penstock, file.version, file.tiles.length],
    refused,
    imported,
    underlined,
    isRefused,
    metric,
    tried,
    board,
  };
});
