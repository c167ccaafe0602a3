// Keys, apps, usage, reports and the audit log, and who doesn't see them.
import { given, tell } from "./visit.mjs";

tell(async (visit) => {
  const page = await visit.page();
  page.on("dialog", (dialog) => dialog.accept());
  await visit.signIn(page, given("PENSTOCK_KEY"), "/console/keys");
  const open = async (/** @type {string} */ name) => page.getByRole("link", { name, exact: true }).click();

  await page.getByRole("button", { name: "New key" }).click();
  await page.getByLabel("Name").fill("dashboard wall");
  await visit.check(page, "new key");
  await page.getByRole("button", { name: "Make the key" }).click();
  const key = await page.getByLabel("The key's text").inputValue();
  await page.getByRole("row", { name: "dashboard wall" }).waitFor();
  await visit.check(page, "keys");
  await visit.picture(page, "keys");

  // What that key sees: less.
  const other = await visit.page();
  await visit.signIn(other, key);
  await other.locator(".totals").waitFor();
  const pages = await other.getByRole("navigation").getByRole("link").allTextContents();
  await other.goto(`${visit.origin}/console/audit`);
  const refused = await other.locator(".state h2").textContent();
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
  await visit.check(page, "apps");
  await visit.picture(page, "apps");

  await open("Usage and health");
  await page.getByText("Log and warehouse agree").waitFor();
  const counts = await page.locator(".totals dd").allTextContents();
  await visit.check(page, "usage");
  await visit.picture(page, "usage");

  await open("Reports");
  await page.getByRole("button", { name: "New report" }).click();
  await page.getByLabel("Name").fill("Every morning");
  await page.getByLabel("When").fill("nonsense");
  await page.getByRole("button", { name: "Add the report" }).click();
  const wrong = await page.getByRole("dialog").getByRole("alert").textContent();
  await visit.check(page, "new report");
  await page.getByLabel("When").fill("30 6 * * mon-fri");
  await page.getByRole("button", { name: "Add the report" }).click();
  await page.getByRole("row", { name: "Every morning" }).waitFor();
  await page.getByRole("button", { name: "Answers" }).click();
  await page.getByRole("heading", { name: "No answer yet" }).waitFor();
  await visit.check(page, "reports");
  await visit.picture(page, "reports");

  await open("Audit");
  await page.getByRole("region", { name: "Entries" }).waitFor();
  const done = await page.getByRole("region", { name: "Entries" }).locator("tr strong").allTextContents();
  await page.getByRole("button", { name: "Verify" }).click();
  const verdict = await page.getByText("hold together").textContent();
  await visit.check(page, "audit");
  await visit.picture(page, "audit");

  return { pages, refused, counts, wrong, done: done.slice(0, 4), verdict };
});
