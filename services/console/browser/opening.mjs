// Measures how long the console takes on a server that runs: until somebody can sign in, in a browser that has nothing of it, and until the first answer
// is there, signed in. Fails where half of the times somebody can't use it within a second.
//
//   CHROMIUM=/usr/bin/chromium PENSTOCK_ADDRESS=127.0.0.1:7070 PENSTOCK_KEY=... node browser/opening.mjs
import { chromium } from "playwright-core";
import { given } from "./visit.mjs";

const TIMES = 10;
const MOST_MS = 1_000;
const origin = `http://${given("PENSTOCK_ADDRESS")}`;

/** @param {number[]} times */
const told = (times) => {
  const sorted = times.toSorted((a, b) => a - b).map(Math.round);
  return { p50: sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.POSITIVE_INFINITY, max: sorted.at(-1) };
};

const browser = await chromium.launch({ executablePath: given("CHROMIUM"), args: ["--no-sandbox"] });
try {
  /** @type {{ signIn: number[]; answer: number[]; again: number[] }} */
  const took = { signIn: [], answer: [], again: [] };
  for (let i = 0; i < TIMES; i += 1) {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
    const page = await context.newPage();
    // Looks with each frame; a locator, after a while, only every half a second.
    const shows = (/** @type {string} */ selector) =>
      page.waitForFunction((selector) => document.querySelector(selector) !== null, selector);
    // What can be typed into and pressed is interactive.
    let began = performance.now();
    await page.goto(`${origin}/console/`, { waitUntil: "commit" });
    await shows("input");
    await page.getByLabel("API key").fill(given("PENSTOCK_KEY"));
    took.signIn.push(performance.now() - began);
    began = performance.now();
    await page.getByRole("button", { name: "Sign in" }).click();
    await shows(".totals dd");
    took.answer.push(performance.now() - began);
    began = performance.now();
    await page.reload({ waitUntil: "commit" });
    await shows(".totals dd");
    took.again.push(performance.now() - began);
    await context.close();
  }
  const { signIn, answer, again } = took;
  const of = { sign_in_ms: told(signIn), first_answer_ms: told(answer), reloaded_to_answer_ms: told(again) };
  process.stdout.write(`${JSON.stringify(of)}\n`);
  for (const name of /** @type {const} */ (["sign_in_ms", "reloaded_to_answer_ms"])) {
    if (of[name].p50 < MOST_MS) continue;
    process.stderr.write(`opening: ${name} is ${of[name].p50} at P50, and should be under ${MOST_MS}\n`);
    process.exitCode = 1;
  }
} finally {
  await browser.close();
}
