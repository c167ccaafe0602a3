// A browser on the console, and what every visit is asked about: its faults, its accessibility, how it looks.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

/** @typedef {import("playwright-core").Page} Page */

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
/** The rules whose answer a theme can change. */
const OF_COLOURS = ["color-contrast", "link-in-text-block"];
export const PATIENCE_MS = 60_000;
export const WIDTHS = [1440, 900, 390];

/** @param {string} name */
export function given(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

/** Opens a browser and lets a story be told in it; prints what it says as JSON.
 * @param {(visit: Visit) => Promise<unknown>} story */
export async function tell(story) {
  // Tests may run as root, in containers without namespaces of their own: the pages are the product's alone.
  const args = ["--no-sandbox", "--disable-dev-shm-usage", "--font-render-hinting=none"];
  const browser = await chromium.launch({ executablePath: given("CHROMIUM"), args });
  try {
    const visit = new Visit(browser, `http://${given("PENSTOCK_ADDRESS")}`);
    const seen = await story(visit);
    process.stdout.write(JSON.stringify({ seen, complaints: visit.complaints, violations: visit.violations }));
  } finally {
    await browser.close();
  }
}

/** Waits until the page has drawn itself anew: with that it learns of its size and of what the browser prefers, and it does so by itself only if
 * it has something to draw.
 * @param {Page} page */
async function drawn(page) {
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
}

/** Gives the window another size, which charts follow.
 * @param {Page} page @param {number} width @param {number} height */
async function resize(page, width, height) {
  await page.setViewportSize({ width, height });
  await drawn(page);
}

/** Has the browser prefer a theme, which the console puts on where nobody chose one.
 * @param {Page} page @param {"light" | "dark"} colorScheme */
async function prefer(page, colorScheme) {
  await page.emulateMedia({ colorScheme });
  await drawn(page);
  await page.locator(`html[data-theme=${colorScheme}]`).waitFor({ state: "attached" });
}

export class Visit {
  /** What pages wrote to their console as a warning or an error, and what they threw.
   * @type {string[]} */
  complaints = [];
  /** What axe holds against pages.
   * @type {string[]} */
  violations = [];

  /** @param {import("playwright-core").Browser} browser @param {string} origin */
  constructor(browser, origin) {
    this.browser = browser;
    this.origin = origin;
  }

  /** @param {"light" | "dark"} [colorScheme] */
  async page(colorScheme = "light") {
    // What fades has colours meanwhile that nobody is meant to read.
    const reducedMotion = "reduce";
    return this.tab(
      await this.browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme, reducedMotion }),
    );
  }

  /** A page beside others, which share what the browser keeps.
   * @param {import("playwright-core").BrowserContext} context */
  async tab(context) {
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("console", (message) => {
      if (["warning", "error"].includes(message.type())) this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    return page;
  }

  /** @param {Page} page @param {string} key @param {string} [path] */
  async signIn(page, key, path = "/console/") {
    await page.goto(this.origin + path);
    await page.getByLabel("API key").fill(key);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("navigation", { name: "Pages" }).waitFor();
  }

  /** Has axe look at the page as it is.
   * @param {Page} page @param {string} name @param {string[]} runOnly tags of rules, or rules */
  async check(page, name, runOnly = TAGS) {
    if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(AXE);
    const found = await page.evaluate(async (runOnly) => {
      // @ts-expect-error axe put itself there
      const { violations } = await window.axe.run(document, { runOnly });
      return violations.map(
        (/** @type {{ id: string; nodes: { html: string; failureSummary: string }[] }} */ { id, nodes }) =>
          `${id}: ${nodes[0]?.html} ${nodes[0]?.failureSummary}`,
      );
    }, runOnly);
    this.violations.push(...found.map((/** @type {string} */ text) => `${name}: ${text}`));
  }

  /** The same in both themes, which follow what the browser prefers.
   * @param {Page} page @param {string} name */
  async checkBoth(page, name) {
    await this.check(page, name);
    await prefer(page, "dark");
    await this.check(page, `${name}, dark`, OF_COLOURS);
    await prefer(page, "light");
  }

  /** Looks at the whole page at each width, and takes a picture of it if people want some.
   * @param {Page} page @param {string} name @param {number[]} [widths] */
  async picture(page, name, widths = WIDTHS) {
    for (const width of widths) {
      await resize(page, width, width < 600 ? 844 : 900);
      // A page that is wider than the window can't be read on a telephone.
      const spare = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      if (spare > 0) this.violations.push(`${name}: ${spare} pixels too wide at ${width}`);
      const folder = process.env.PENSTOCK_SCREENSHOTS;
      if (!folder) continue;
      // In a window as tall as the page, what sticks to a side is drawn along all of it.
      const tall = await page.evaluate(() => Math.max(document.documentElement.scrollHeight, window.innerHeight));
      await resize(page, width, tall);
      await page.screenshot({ path: `${folder}/${name}-${width}.png`, fullPage: true, caret: "initial" });
    }
    await resize(page, 1440, 900);
  }

  /** The rows of a table, as they are read.
   * @param {import("playwright-core").Locator} table */
  async rows(table) {
    const rows = table.locator("tbody tr");
    await rows.first().waitFor();
    return rows.evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent ?? "")));
  }
}
