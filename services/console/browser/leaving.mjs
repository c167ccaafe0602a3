// The client of libs/client-typescript in a page that is left, and in one that nobody sees: what reaches the server of more than outlives a page.
// Events have their number as `n`; what is in `left` and `hidden` the test counts.
import { createServer } from "node:http";
import { bundle } from "./bundle.mjs";
import { given, tell } from "./visit.mjs";

const EVENTS = 2_000;

/** Runs in the page: tracks so many at once, and says how many there were before.
 * @param {{ code: string; type: string; events: number; address: string; key: string; app: string }} asked */
async function track({ code, type, events, address, key, app }) {
  const { Client } = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const penstock = new Client({
    address,
    key,
    app,
    limits: { batchMs: 3_600_000, batchBytes: 1 << 30, batchEvents: events + 2 },
  });
  Object.assign(window, { penstock });
  // What a browser asks before its first request it knows now.
  await penstock.track({ eventType: "seen", userId: "u1" });
  await penstock.flush();
  const pad = "x".repeat(100);
  for (let n = 0; n < events; n += 1) await penstock.track({ eventType: type, userId: "u1", properties: { n, pad } });
}

await tell(async (visit) => {
  const elsewhere = createServer((_, answer) =>
    answer.setHeader("content-type", "text/html").end("<title>A shop</title>"),
  );
  await new Promise((listening) => elsewhere.listen(0, "127.0.0.1", () => listening(undefined)));
  const place = /** @type {import("node:net").AddressInfo} */ (elsewhere.address());
  const code = await bundle("../../libs/client-typescript/dist/src/browser.js");
  const asked = { code, events: EVENTS, address: visit.origin, key: given("PENSTOCK_KEY"), app: given("PENSTOCK_APP") };
  /** @param {string} type */
  const tracked = async (type) => {
    const page = await visit.page();
    await page.goto(`http://127.0.0.1:${place.port}/`);
    await page.evaluate(track, { ...asked, type });
    return page;
  };

  await (await tracked("left")).close({ runBeforeUnload: true });
  await (await tracked("gone")).goto("about:blank");
  const hidden = await tracked("hidden");
  await hidden.evaluate(() => {
    // A browser without windows shows all its pages.
    Object.defineProperty(document, "visibilityState", { value: "hidden" });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  // It stays, and what it sends comes one after another: until all is taken.
  await hidden.waitForFunction(() => /** @type {any} */ (window).penstock.pending === 0);
  elsewhere.close();
  return { events: EVENTS };
});
