// A question by country, on a map of the world: with the eyes, by the keyboard, and as a list.
import { given, tell } from "./visit.mjs";

tell(async (visit) => {
  /** @type {string[]} */
  const files = [];
  const page = await visit.page();
  page.on("requestfinished", (request) => files.push(new URL(request.url()).pathname));
  await visit.signIn(page, given("PENSTOCK_KEY"), "/console/explore");
  await page.locator(".totals dd").first().waitFor();
  const isLazy = !files.some((path) => path.includes("world"));
  await page.getByRole("button", { name: "Map" }).click();
  await page.getByRole("combobox", { name: "Dimension 1" }).fill("land");
  await page.keyboard.press("Enter");
  const list = page.getByRole("region", { name: "by country" });
  const germany = page.getByRole("img", { name: "Germany: 3" });
  await germany.waitFor();
  const rows = await visit.rows(list);
  const note = await page.locator(".map-note").textContent();
  const legend = await page.locator(".map-legend li").allTextContents();
  await visit.checkBoth(page, "map");
  await visit.picture(page, "map");

  // From the country with the most, by arrows.
  await germany.focus();
  const first = await page.locator(".map-tip").textContent();
  await page.keyboard.press("ArrowRight");
  const second = await page.locator(".map-tip").textContent();
  await page.keyboard.press("End");
  const last = await page.evaluate(() => document.activeElement?.getAttribute("aria-label"));
  const fills = await page
    .locator(".map path[role=img]")
    .evaluateAll((paths) => new Set(paths.map((path) => getComputedStyle(path).fill)).size);

  // The same in the dark, on a dashboard, where it follows its events.
  const address = page.url();
  const dark = await visit.page("dark");
  await visit.signIn(dark, given("PENSTOCK_KEY"), "/console/explore");
  await dark.goto(address);
  await dark.getByRole("button", { name: "Add to dashboard" }).click();
  await dark.getByLabel("Title").fill("Where from");
  await dark.getByRole("dialog").getByRole("button", { name: "Add" }).click();
  const tile = dark.getByRole("region", { name: "Where from", exact: true });
  await tile.getByRole("img", { name: "Germany: 3" }).focus();
  const event = { app_id: "xyz123", event_type: "visit", user_id: "u1", properties: { land: "DEU" } };
  const more = { ...event, properties: { land: "DE" } };
  const headers = { authorization: `Bearer ${given("PENSTOCK_KEY")}`, "content-type": "application/json" };
  await fetch(`${visit.origin}/v1/events`, { method: "POST", headers, body: JSON.stringify([more, event]) });
  await tile.getByRole("img", { name: "Germany: 4" }).waitFor();
  const kept = await dark.evaluate(() => document.activeElement?.getAttribute("aria-label"));
  await visit.check(dark, "map, dark");
  await visit.picture(dark, "map-dark");
  return { isLazy, rows, note, legend, first, second, last, fills, kept };
});
