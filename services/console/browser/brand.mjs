// Comes by the host of a product with a name and colours of its own, in both themes, and says what there was to see.
import { given, tell } from "./visit.mjs";

tell(async (visit) => {
  /** @type {Record<string, unknown>} */
  const seen = {};
  for (const theme of /** @type {const} */ (["light", "dark"])) {
    const page = await visit.page(theme);
    // A page doesn't wait long for its brand, and this story does.
    await page.addInitScript(() => {
      AbortSignal.timeout = () => new AbortController().signal;
    });
    await page.goto(`${visit.origin}/console/`);
    await page.getByLabel("API key").waitFor();
    const title = await page.title();
    await page.getByText("Where do I find one?").click();
    const words = (await page.locator("body").textContent()) ?? "";
    await visit.check(page, `sign in, ${theme}`);
    await visit.picture(page, `brand-sign-in-${theme}`);
    await visit.signIn(page, given("PENSTOCK_KEY"));
    await page.getByRole("heading", { level: 1 }).waitFor();
    await visit.check(page, `signed in, ${theme}`);
    await visit.picture(page, `brand-${theme}`);
    const help = (await page.locator("body").textContent()) ?? "";
    const empty = [];
    for (const [name, title] of [
      ["Explorer", "No events match"],
      ["Live", "No event in the last hour"],
      ["Usage and health", "No event in the last 24 hours"],
    ]) {
      await page.getByRole("link", { name, exact: true }).click();
      await page.getByRole("heading", { name: title }).waitFor();
      empty.push((await page.getByRole("main").textContent()) ?? "");
    }
    await page.getByRole("link", { name: "documentation" }).waitFor();
    await visit.check(page, `nothing yet, ${theme}`);
    await visit.picture(page, `brand-nothing-${theme}`);
    const accent = await page.evaluate(() => getComputedStyle(document.documentElement).getPropertyValue("--accent"));
    seen[theme] = {
      title,
      accent,
      titleInside: await page.title(),
      isNamed: [words, help, ...empty].map((text) => /penstock/i.test(text)),
    };
  }
  return seen;
});
