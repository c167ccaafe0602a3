// Measures how smooth a chart of 10,000 points is in each way to draw it: the time between frames, and the work in one, while the pointer moves over it
// and while its range moves under it. Fails where that is less than 60 frames a second.
//
//   CHROMIUM=/usr/bin/chromium node browser/frames.mjs
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";
import { bundle } from "./bundle.mjs";
import { given } from "./visit.mjs";

const POINTS = 10_000;
const FRAMES = 300;
/** Between frames at 60 a second, and what a clock of whole tenths adds. */
const MOST_MS = 17.5;
const tokens = readFileSync(new URL("../src/styles/tokens.css", import.meta.url), "utf8");

/** Runs in the page.
 * @param {{ code: string; drawing: string; series: number; points: number; frames: number }} asked */
async function measure({ code, drawing, series, points, frames }) {
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const { draw } = await import(url);
  const box = document.body.appendChild(document.createElement("div"));
  const times = Array.from({ length: points }, (_, i) => 1_700_000_000_000 + i * 60_000);
  const line = (/** @type {number} */ s) => ({
    name: `series ${s}`,
    unit: "",
    colour: s,
    values: times.map((_, i) => 100 + 50 * Math.sin(i / (90 + s * 17)) + ((i * 7_919 * (s + 1)) % 97) / 4),
  });
  const data = { times, series: Array.from({ length: series }, (_, s) => line(s)), step: "minute", zone: "UTC" };
  const began = performance.now();
  const plot = draw(box, data, drawing, 300, "light", () => undefined);
  await new Promise(requestAnimationFrame);
  const first = performance.now() - began;
  const [from, to] = [(times[0] ?? 0) / 1_000, (times[points - 1] ?? 0) / 1_000];
  const over = /** @type {Element} */ (box.querySelector(".u-over"));
  const each = async (/** @type {(i: number) => void} */ act) => {
    const [gaps, work] = [/** @type {number[]} */ ([]), /** @type {number[]} */ ([])];
    let last = await new Promise(requestAnimationFrame);
    for (let i = 0; i < frames; i += 1) {
      const started = performance.now();
      act(i);
      // What a plot has to draw it draws in a microtask.
      await Promise.resolve();
      await Promise.resolve();
      work.push(performance.now() - started);
      const now = await new Promise(requestAnimationFrame);
      gaps.push(now - last);
      last = now;
    }
    const at = (/** @type {number[]} */ list, /** @type {number} */ q) =>
      Number((list.sort((a, b) => a - b)[Math.floor((list.length - 1) * q)] ?? 0).toFixed(1));
    return {
      frames_per_second: Number((frames / (gaps.reduce((sum, gap) => sum + gap, 0) / 1_000)).toFixed(1)),
      gap_ms: { p50: at(gaps, 0.5), p95: at(gaps, 0.95), max: at(gaps, 1) },
      late_frames: gaps.filter((gap) => gap > 17.5).length,
      work_ms: { p50: at(work, 0.5), p95: at(work, 0.95), max: at(work, 1) },
    };
  };
  const rect = over.getBoundingClientRect();
  const hover = await each((i) => {
    const clientX = rect.left + ((i * 7) % rect.width);
    over.dispatchEvent(
      new MouseEvent("mousemove", { clientX, clientY: rect.top + 50, bubbles: true, movementX: 7, movementY: 1 }),
    );
  });
  const pan = await each((i) => {
    const shift = ((to - from) / 4) * (1 + Math.sin(i / 40));
    plot.setScale("x", { min: from + shift, max: from + shift + (to - from) / 2 });
  });
  const whole = await each((i) => plot.setScale("x", { min: from - i, max: to + i }));
  return { first_ms: Number(first.toFixed(1)), hover, pan, whole };
}

const code = await bundle("src/charts/plot.ts");
const browser = await chromium.launch({ executablePath: given("CHROMIUM"), args: ["--no-sandbox"] });
try {
  for (const [drawing, series] of /** @type {[string, number][]} */ ([
    ["line", 1],
    ["line", 8],
    ["columns", 1],
  ])) {
    const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
    await page.setContent(`<!doctype html><style>${tokens}</style><body></body>`);
    const seen = await page.evaluate(measure, { code, drawing, series, points: POINTS, frames: FRAMES });
    process.stdout.write(`${JSON.stringify({ drawing, series, points: POINTS, ...seen }, null, 1)}\n`);
    for (const name of /** @type {const} */ (["hover", "pan"])) {
      const { p50 } = seen[name].gap_ms;
      if (p50 <= MOST_MS) continue;
      process.stderr.write(
        `frames: ${drawing} of ${series}, ${name}: ${p50} ms between frames at P50, and should be ${MOST_MS} at most\n`,
      );
      process.exitCode = 1;
    }
    await page.close();
  }
} finally {
  await browser.close();
}
