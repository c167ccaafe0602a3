// A question over time: beside the time before, by other clocks and widths, as a table and as shares.
import { given, tell } from "./visit.mjs";

tell(async (visit) => {
  const page = await visit.page();
  await visit.signIn(page, given("PENSTOCK_KEY"), "/console/explore");
  const measures = [{ sort: "sum", field: "amount", formula: "", name: "Sold" }];
  const ask = (/** @type {object} */ rest) =>
    page.goto(`${visit.origin}/console/explore?q=${encodeURIComponent(JSON.stringify({ measures, ...rest }))}`);
  const table = page.getByRole("region", { name: "as a table" });
  /** What the answer is, once it has such a row. */
  const rows = async (/** @type {string} */ name) => {
    await table.getByRole("row", { name, exact: true }).waitFor();
    await page.locator(".result:not(.stale)").waitFor();
    return visit.rows(table);
  };
  const total = page.locator(".totals dd");
  const [day, days] = ["2024-01-31T00:00/2024-02-01T00:00", "2024-01-30T00:00/2024-02-02T00:00"];

  // A day beside the one before.
  await ask({ by: ["store"], range: day, view: "bar" });
  await rows("south 180");
  await page.getByLabel("Compare with").selectOption("vs. period before");
  const compared = {
    rows: await rows("south 180 30"),
    total: await total.allTextContents(),
    // In hundredths of the longest: what was before has the same scale.
    bars: await page
      .locator(".bars i")
      .evaluateAll((bars) => bars.map((bar) => bar instanceof HTMLElement && Math.round(parseFloat(bar.style.width)))),
  };
  await visit.checkBoth(page, "compared");
  await visit.picture(page, "explorer-compared");

  // Three days, by clocks of two places, as a table.
  await ask({ range: days, view: "bar" });
  await page.getByLabel("Grain").selectOption("By day");
  await page.locator(".chart canvas").waitFor();
  await page.getByRole("button", { name: "Table" }).click();
  await page.locator(".chart").waitFor({ state: "detached" });
  const utc = await rows("Wed 31 Jan 240");
  const zone = page.getByRole("combobox", { name: "Time zone" });
  await zone.fill("Europe/Berlin");
  await page.keyboard.press("Enter");
  const berlin = await rows("Wed 31 Jan 200");
  await page.getByLabel("Grain").selectOption("By month");
  const months = await rows("Feb 2024 40");
  await page.getByLabel("Grain").selectOption("Total");
  const all = await rows("280");
  await visit.checkBoth(page, "table");

  // Shares of each day, as the pointer tells them.
  await ask({ by: ["store"], range: days, view: "share", grain: "day" });
  await page.locator(".chart canvas").waitFor();
  const { width, height } = (await page.locator(".u-over").boundingBox()) ?? { width: 0, height: 0 };
  await page.locator(".u-over").hover({ position: { x: width / 2, y: height / 2 } });
  const tooltip = page.locator(".tooltip");
  const shares = { of: await tooltip.locator("strong").textContent(), rows: await visit.rows(tooltip) };
  await visit.checkBoth(page, "shares");
  await visit.picture(page, "explorer-shares");
  return { compared, utc, berlin, months, all, shares };
});
