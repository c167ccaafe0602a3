// Keys, apps, settings, branding, usage, reports and the audit log, and who doesn't see them.
import { given, tell } from "./visit.mjs";

tell(async (visit) => {
  const page = await visit.page();
  page.on("dialog", (dialog) => dialog.accept());
  await visit.signIn(page, given("PENSTOCK_KEY"), "/console/keys");
  const open = async (/** @type {string} */ name) => page.getByRole("link", { name, exact: true }).click();

  await page.getByRole("button", { name: "New key" }).click();
  await page.getByLabel("Name").fill("dashboard wall");
  await visit.checkBoth(page, "new key");
  await page.getByRole("button", { name: "Make the key" }).click();
  const key = await page.getByLabel("The key's text").inputValue();
  await page.getByRole("row", { name: "dashboard wall" }).waitFor();
  await visit.checkBoth(page, "keys");
  await visit.picture(page, "keys");

  // What that key sees: less.
  const other = await visit.page();
  await visit.signIn(other, key);
  await other.locator(".totals").waitFor();
  const pages = await other.getByRole("navigation").getByRole("link").allTextContents();
  await other.goto(`${visit.origin}/console/audit`);
  const refused = await other.locator(".state h2").textContent();

  // By the button it is dark, whatever the browser prefers, and stays so.
  const theme = () => other.evaluate(() => document.documentElement.dataset.theme);
  const ground = () => other.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const themes = [await theme(), await ground()];
  await other.getByRole("button", { name: "Dark theme" }).click();
  themes.push(await theme(), await ground());
  await other.reload();
  await other.getByRole("button", { name: "Light theme" }).waitFor();
  themes.push(await theme());
  await visit.check(other, "nothing here, dark");
  await other.getByRole("button", { name: "Light theme" }).click();
  await other.emulateMedia({ colorScheme: "dark" });
  themes.push(await theme());
  await other.close();

  await page.getByRole("button", { name: "Revoke dashboard wall" }).click();
  await page.getByRole("row", { name: "dashboard wall" }).getByText("revoked").waitFor();

  await open("Apps");
  await page.getByRole("button", { name: "New app" }).click();
  await page.getByLabel("Id").fill("lab");
  await page.getByRole("button", { name: "Add the app" }).click();
  await page.getByRole("row", { name: "lab" }).waitFor();
  await page.getByLabel("App", { exact: true }).selectOption("lab");
  await page.getByLabel("App", { exact: true }).selectOption("xyz123");
  // Of another app the page is another, which asks anew.
  await page.getByRole("row", { name: "lab" }).waitFor();
  await visit.checkBoth(page, "apps");
  await visit.picture(page, "apps");

  // An operator says what a tenant may, and its admins the rest.
  const operator = await visit.page();
  await visit.signIn(operator, given("PENSTOCK_OPERATOR_KEY"));
  await operator.getByRole("region", { name: "All tenants of the installation" }).getByText("UTC").waitFor();
  await visit.checkBoth(operator, "tenants");
  await visit.picture(operator, "tenants");

  // A new tenant is whole with a key with which its admins make the rest.
  await operator.getByRole("button", { name: "New tenant" }).click();
  await operator.getByLabel("Id").fill("acme");
  await visit.checkBoth(operator, "new tenant");
  await operator.getByRole("button", { name: "Add the tenant" }).click();
  await operator.getByRole("button", { name: "New admin key" }).click();
  const first = await visit.page();
  await visit.signIn(first, await operator.getByLabel("The key's text").inputValue());
  await visit.picture(operator, "tenant-new");
  await first.getByRole("heading", { name: "There is no app yet" }).waitFor();
  await visit.checkBoth(first, "no app yet");
  await visit.picture(first, "no-app");
  await first.getByRole("button", { name: "Open Apps" }).click();
  await first.getByRole("button", { name: "New app" }).click();
  await first.getByLabel("Id").fill("shop");
  await first.getByRole("button", { name: "Add the app" }).click();
  await first.getByLabel("App", { exact: true }).waitFor();
  const made = await first.getByLabel("App", { exact: true }).inputValue();
  await first.close();
  await operator.getByRole("link", { name: "Tenants" }).click();

  await operator.getByRole("button", { name: "Settings of demo" }).click();
  await operator.getByRole("button", { name: "Change All apps of demo" }).click();
  const calls = operator.getByLabel("Calls a second");
  await calls.fill("many");
  await operator.getByText("Write a whole number").waitFor();
  await calls.fill("500");
  await operator.getByLabel("Bytes that queries read a second").fill("4000000000");
  await operator.getByText("4.0 GB").waitFor();
  await visit.checkBoth(operator, "settings, changed by an operator");
  await visit.picture(operator, "settings-changed");
  await operator.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  await operator.getByRole("row", { name: "Calls 500 a second the tenant" }).nth(1).waitFor();
  await visit.checkBoth(operator, "tenant");
  await visit.picture(operator, "tenant");
  const domains = operator.getByRole("form", { name: "Domains of demo" });
  await domains.getByRole("textbox").fill("Acme");
  await domains.getByRole("button").click();
  const misnamed = await domains.getByRole("alert").textContent();
  await domains.getByRole("textbox").fill("analytics.acme.example");
  await domains.getByRole("button").click();
  await domains.getByRole("button", { disabled: true }).waitFor();

  // How the installation is: calls are told 10 seconds after they were answered.
  await operator.getByRole("link", { name: "System" }).click();
  await operator.getByRole("row", { name: /gateway, ingest, pipeline/ }).waitFor();
  const calling = operator.getByRole("region", { name: "Calls", exact: true }).getByRole("row", { name: /^admin / });
  const p99 = await calling.getByRole("cell").last().textContent();
  await operator.getByRole("region", { name: "Partitions", exact: true }).getByRole("row").nth(4).waitFor();
  // What didn't answer within two seconds is asked again.
  await operator.locator(".totals dd.up").nth(2).waitFor();
  const isDown = await operator.getByText("no answer").count();
  await operator.getByRole("button", { name: "More partitions" }).click();
  await visit.checkBoth(operator, "more partitions");
  await operator.getByRole("spinbutton", { name: "Partitions" }).fill("8");
  await operator.getByRole("button", { name: "Let it grow" }).click();
  await operator.getByRole("region", { name: "Partitions", exact: true }).getByRole("row").nth(8).waitFor();
  // Before it grows none is under way either.
  await operator
    .locator(".facts", { hasText: /Partitions\s*8\D/ })
    .getByText("none under way")
    .waitFor();
  await operator.getByRole("button", { name: "Replay a time" }).click();
  await visit.checkBoth(operator, "new replay");
  const until = operator.getByLabel("To, UTC");
  const now = await until.inputValue();
  await until.fill("2020-01-01T00:00");
  await operator.getByRole("button", { name: "Start the replay" }).click();
  const backwards = await operator.getByRole("dialog").getByRole("alert").textContent();
  await until.fill(now);
  await operator.getByRole("button", { name: "Start the replay" }).click();
  await operator.getByRole("row", { name: / done$/ }).waitFor();
  await visit.checkBoth(operator, "system");
  await visit.picture(operator, "system");
  await operator.close();

  await open("Settings");
  const row = (/** @type {string} */ name) => page.getByRole("row", { name, exact: true });
  await row("Calls 500 a second the tenant").nth(1).waitFor();
  await row("Time zone UTC the server").nth(1).waitFor();
  await page.getByRole("button", { name: "Change Demo app" }).click();
  await page.getByLabel("Calls a second").fill("100");
  await visit.checkBoth(page, "settings of an app, changed");
  await page.getByRole("button", { name: "Save" }).click();
  await row("Calls 100 a second the app").waitFor();
  // Who saves what was changed meanwhile overwrites nothing.
  await page.getByRole("button", { name: "Change Demo app" }).click();
  await page.getByLabel("Calls a second").fill("90");
  const theirs = await fetch(`${visit.origin}/v1/settings`, {
    method: "PUT",
    headers: { authorization: `Bearer ${given("PENSTOCK_KEY")}`, "content-type": "application/json" },
    body: JSON.stringify({
      app_id: "xyz123",
      settings: { quota: { requests_per_second: 100 }, default_priority: "PRIORITY_INTERACTIVE" },
    }),
  });
  if (!theirs.ok) throw new Error(await theirs.text());
  await page.getByRole("button", { name: "Save" }).click();
  const meanwhile = await page.getByRole("dialog").getByRole("alert").textContent();
  await visit.checkBoth(page, "settings, changed by two");
  await page.keyboard.press("Escape");
  await row("Priority of queries interactive the app").waitFor();
  await page.getByRole("button", { name: "Change All apps of demo" }).click();
  const isTheirs = await page.getByLabel(/Highest priority|Calls a second/).count();
  await page.getByRole("combobox", { name: "Time zone" }).fill("Asia/Kathmandu");
  await page.keyboard.press("Enter");
  await visit.checkBoth(page, "settings, changed");
  await page.getByRole("button", { name: "Save" }).click();
  await row("Time zone Asia/Kathmandu the tenant").nth(1).waitFor();
  await visit.checkBoth(page, "settings");
  await visit.picture(page, "settings");

  await open("Branding");
  const branding = page.getByRole("form", { name: "All apps of demo" });
  await page.getByText("It holds on analytics.acme.example.").waitFor();
  await branding.getByLabel("Name").fill("Acme Insights");
  await branding.getByLabel("Colour of what can be clicked").fill("yellow");
  await branding.getByRole("button").click();
  const miscoloured = await branding.getByRole("alert").textContent();
  await branding.getByLabel("Colour of what can be clicked").fill("#ffd400");
  await branding.getByRole("button").click();
  const inherited = page.getByRole("form", { name: "Demo app" }).getByLabel("Name");
  await inherited.and(page.getByPlaceholder("Acme Insights")).waitFor();
  await visit.checkBoth(page, "branding");
  await visit.picture(page, "branding");

  // What is used, and what that costs, is told once a minute.
  const headers = { authorization: `Bearer ${given("PENSTOCK_KEY")}` };
  for (let isTold = false; !isTold; ) {
    const answer = await fetch(`${visit.origin}/v1/usage`, { headers });
    if (!answer.ok) throw new Error(await answer.text());
    const { usage = [] } = await answer.json();
    isTold = usage.some((/** @type {{ events: string }} */ { events }) => Number(events) > 0);
    if (!isTold) await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
  await open("Usage and health");
  await page.getByText("Log and warehouse agree").waitFor();
  const used = page.getByRole("region", { name: "Used", exact: true });
  const cost = {
    day: await used.locator("tbody td").last().textContent(),
    all: await page.getByText("by the installation's prices").textContent(),
  };
  const counts = await page.locator(".totals dd").allTextContents();
  await page.getByText("100 a second").waitFor();
  const limits = await page.locator(".facts dd").allTextContents();
  await visit.checkBoth(page, "usage");
  await visit.picture(page, "usage");

  await open("Reports");
  await page.getByRole("button", { name: "New report" }).click();
  await page.getByLabel("Name").fill("Every morning");
  await page.getByLabel("When").fill("nonsense");
  await page.getByRole("button", { name: "Add the report" }).click();
  const wrong = await page.getByRole("dialog").getByRole("alert").textContent();
  await visit.checkBoth(page, "new report");
  await page.getByLabel("When").fill("30 6 * * mon-fri");
  await page.getByRole("button", { name: "Add the report" }).click();
  await page.getByRole("row", { name: "Every morning" }).waitFor();
  await page.getByRole("button", { name: "Answers" }).click();
  await page.getByRole("heading", { name: "No answer yet" }).waitFor();
  await visit.checkBoth(page, "reports");
  await visit.picture(page, "reports");

  await open("Audit");
  await page.getByRole("region", { name: "Entries" }).waitFor();
  const done = await page.getByRole("region", { name: "Entries" }).locator("tr strong").allTextContents();
  await page.getByRole("button", { name: "Verify" }).click();
  const verdict = await page.getByText("hold together").textContent();
  await visit.checkBoth(page, "audit");
  await visit.picture(page, "audit");

  return {
    made,
    pages,
    refused,
    themes,
    counts,
    limits,
    isTheirs,
    meanwhile,
    isDown,
    p99,
    cost,
    backwards,
    misnamed,
    miscoloured,
    wrong,
    done: done.slice(0, 4),
    verdict,
  };
});
