// The client of libs/client-typescript with its queue on the browser's disk: pages that end while the server is away, tabs that share a queue, one that
// is full, and browsers that keep nothing. Each story has a queue of its name, and its events are of that type and have their number as `n`: the test
// counts them.
import { createServer } from "node:http";
import { bundle } from "./bundle.mjs";
import { Line } from "./line.mjs";
import { given, PATIENCE_MS, tell } from "./visit.mjs";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {import("playwright-core").BrowserContext} Profile */
/** @typedef {{ track(event: object): Promise<string>; flush(limit: object): Promise<{ accepted: number }>; close(limit: object): Promise<void>; pending: number }} Client */
/** What stories have in a page: how many events the server took of it, what its client was told of the disk, and the codes of what came back.
 * @typedef {Window & typeof globalThis & { penstock: Client; QueueFull: typeof Error; sent: number; told: string[]; rejected: string[] }} Shop */

const EVENTS = 100;
const QUEUE_BYTES = 64 << 10;

// Functions that run in a page

/** @param {{ code: string; queue: string; options: object }} asked */
async function open({ code, queue, options }) {
  const { Client, QueueFull } = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const told = /** @type {string[]} */ ([]);
  const rejected = /** @type {string[]} */ ([]);
  const onDiskFailed = (/** @type {Error} */ error) => told.push(error.message);
  const onRejected = (/** @type {{ code: string }} */ { code }) => rejected.push(code);
  const penstock = new Client({ ...options, directory: queue, onDiskFailed, onRejected });
  Object.assign(window, { penstock, QueueFull, told, rejected, sent: 0 });
}

/** Says how many are queued once they are on disk.
 * @param {{ queue: string; from?: number; events?: number; bytes?: number }} asked */
async function track({ queue, from = 0, events = 100, bytes = 0 }) {
  const { penstock } = /** @type {Shop} */ (window);
  const pad = "x".repeat(bytes);
  const numbers = Array.from({ length: events }, (_, i) => from + i);
  await Promise.all(numbers.map((n) => penstock.track({ eventType: queue, userId: "u1", properties: { n, pad } })));
  return penstock.pending;
}

/** Says how many there was room for.
 * @param {string} queue */
async function fill(queue) {
  const { penstock, QueueFull } = /** @type {Shop} */ (window);
  for (let n = 0; ; n += 1) {
    try {
      await penstock.track({ eventType: queue, userId: "u1", properties: { n, pad: "x".repeat(100) } });
    } catch (error) {
      if (error instanceof QueueFull) return n;
      throw error;
    }
  }
}

/** @param {number} events */
const hasQueued = (events) => /** @type {Shop} */ (window).penstock.pending === events;

/** Sends what is queued; another's may become its own meanwhile.
 * @param {number} events */
async function hasSent(events) {
  const shop = /** @type {Shop} */ (window);
  shop.sent += (await shop.penstock.flush({ timeoutMs: 60_000 })).accepted;
  return shop.sent >= events;
}

const sent = () => /** @type {Shop} */ (window).sent;

/** Whether nothing is left on the disk.
 * @param {string} queue */
async function isEmpty(queue) {
  const request = indexedDB.open(`penstock/${queue}`);
  await new Promise((opened) => (request.onsuccess = opened));
  const db = request.result;
  const count = db
    .transaction(db.objectStoreNames)
    .objectStore(db.objectStoreNames[0] ?? "")
    .count();
  await new Promise((counted) => (count.onsuccess = counted));
  db.close();
  return count.result === 0;
}

/** What became of it. */
async function end() {
  const { penstock, told, rejected } = /** @type {Shop} */ (window);
  await penstock.close({ timeoutMs: 0 });
  return { told, handedBack: rejected.filter((code) => code === "NOT_SENT").length };
}

// Browsers that refuse a database, never say whether it is open, and have no locks

const refuse = () => {
  IDBFactory.prototype.open = () => {
    throw new DOMException("not here", "SecurityError");
  };
};
const sayNothing = () => {
  IDBFactory.prototype.open = () => /** @type {IDBOpenDBRequest} */ ({});
};
const haveNoLocks = () => {
  Object.defineProperty(Navigator.prototype, "locks", { value: undefined });
};

/** Waits until something holds in a page.
 * @template T
 * @param {Page} page @param {(given: T) => Promise<boolean>} holds @param {T} given */
async function until(page, holds, given) {
  const over = Date.now() + PATIENCE_MS;
  // `waitForFunction` takes any promise for a yes.
  while (!(await page.evaluate(/** @type {any} */ (holds), given))) {
    if (Date.now() > over) throw new Error(`no ${holds.name} after ${PATIENCE_MS} ms`);
  }
}

class Pages {
  /** @param {import("./visit.mjs").Visit} visit @param {Line} line @param {string} code @param {string} url */
  constructor(visit, line, code, url) {
    this.visit = visit;
    this.line = line;
    this.code = code;
    this.url = url;
    this.server = { address: `http://127.0.0.1:${line.port}`, key: given("PENSTOCK_KEY"), app: given("PENSTOCK_APP") };
  }

  profile() {
    return this.visit.browser.newContext();
  }

  /** A page that has the queue open.
   * @param {Profile} profile @param {string} queue @param {object} [options] @param {() => void} [before] */
  async open(profile, queue, options = {}, before = () => {}) {
    const page = await this.visit.tab(profile);
    await page.goto(this.url);
    await page.evaluate(before);
    await this.again(page, queue, options);
    return page;
  }

  /** @param {Page} page @param {string} queue @param {object} [options] */
  async again(page, queue, options = {}) {
    await page.evaluate(open, { code: this.code, queue, options: { ...this.server, ...options } });
  }
}

/** The server is away when each begins.
 * @type {Record<string, (pages: Pages, queue: string) => Promise<unknown>>} */
const STORIES = {
  /** It is reloaded, and closed without a word. */
  async closed(pages, queue) {
    const profile = await pages.profile();
    const first = await pages.open(profile, queue);
    await first.evaluate(track, { queue, events: EVENTS / 2 });
    await first.reload();
    await pages.again(first, queue);
    await first.evaluate(track, { queue, from: EVENTS / 2, events: EVENTS / 2 });
    await first.waitForFunction(hasQueued, EVENTS);
    await first.close();
    await pages.line.mend();
    const next = await pages.open(profile, queue);
    await until(next, hasSent, EVENTS);
    await until(next, isEmpty, queue);
    return next.evaluate(sent);
  },

  /** Of three tabs the first and the last crash. */
  async killed(pages, queue) {
    const profile = await pages.profile();
    const first = await pages.open(profile, queue);
    const heir = await pages.open(profile, queue);
    await first.evaluate(track, { queue });
    const own = await heir.evaluate(track, { queue, from: EVENTS });
    const last = await pages.open(profile, queue);
    const ofTheLast = await last.evaluate(track, { queue, from: 2 * EVENTS });
    for (const victim of [first, last]) {
      const died = victim.waitForEvent("crash");
      const devtools = await profile.newCDPSession(victim);
      devtools.send("Page.crash").catch(() => {}); // nobody is left to answer
      await died;
    }
    await heir.waitForFunction(hasQueued, 3 * EVENTS);
    await pages.line.mend();
    await until(heir, hasSent, 3 * EVENTS);
    await until(heir, isEmpty, queue);
    return { own, ofTheLast, sent: await heir.evaluate(sent) };
  },

  /** The next page has it full, too. */
  async full(pages, queue) {
    const profile = await pages.profile();
    const options = { whenFull: "throw", limits: { queueBytes: QUEUE_BYTES } };
    const first = await pages.open(profile, queue, options);
    const queued = await first.evaluate(fill, queue);
    await first.close();
    const next = await pages.open(profile, queue, options);
    await next.waitForFunction(hasQueued, queued);
    const more = await next.evaluate(fill, queue);
    await pages.line.mend();
    await until(next, hasSent, queued);
    return { queued, more };
  },

  /** What can't be sent by the end comes back, and what can goes. */
  async refused(pages, queue) {
    const profile = await pages.profile();
    const ending = await pages.open(profile, queue, {}, refuse);
    await ending.evaluate(track, { queue: "nobody's" });
    const ended = await ending.evaluate(end);
    await pages.line.mend();
    const page = await pages.open(profile, queue, {}, refuse);
    await page.evaluate(track, { queue });
    await until(page, hasSent, EVENTS);
    return { ended, ...(await page.evaluate(end)) };
  },

  /** Nobody waits for ever. */
  async mute(pages, queue) {
    const profile = await pages.profile();
    await profile.clock.install();
    const page = await pages.open(profile, queue, {}, sayNothing);
    const tracked = page.evaluate(track, { queue });
    await page.waitForFunction(hasQueued, EVENTS);
    await page.clock.fastForward(60_000);
    await tracked;
    await pages.line.mend();
    await page.clock.resume();
    await until(page, hasSent, EVENTS);
    return page.evaluate(end);
  },

  /** The browser has no room, and then some again. */
  async small(pages, queue) {
    const profile = await pages.profile();
    const page = await pages.visit.tab(profile);
    await page.goto(pages.url);
    const devtools = await profile.newCDPSession(page);
    const { origin } = new URL(pages.url);
    await devtools.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 100_000 });
    await pages.again(page, queue);
    await page.evaluate(track, { queue: "nobody's", bytes: 5_000 });
    await devtools.send("Storage.overrideQuotaForOrigin", { origin });
    await page.evaluate(track, { queue });
    const ended = await page.evaluate(end);
    await pages.line.mend();
    const next = await pages.open(profile, queue);
    await until(next, hasSent, EVENTS);
    return ended;
  },

  /** Somebody deletes it under the page. */
  async deleted(pages, queue) {
    const page = await pages.open(await pages.profile(), queue);
    await page.evaluate(track, { queue });
    await page.evaluate((name) => {
      const request = indexedDB.deleteDatabase(name);
      return new Promise((deleted) => {
        request.onsuccess = deleted;
      });
    }, `penstock/${queue}`);
    await pages.line.mend();
    await until(page, hasSent, EVENTS);
    return page.evaluate(end);
  },

  /** Two tabs have the same events, and both send them. */
  async lockless(pages, queue) {
    const profile = await pages.profile();
    const one = await pages.open(profile, queue, {}, haveNoLocks);
    await one.evaluate(track, { queue });
    const other = await pages.open(profile, queue, {}, haveNoLocks);
    await other.waitForFunction(hasQueued, EVENTS);
    await pages.line.mend();
    for (const page of [one, other]) await until(page, hasSent, EVENTS);
  },
};

await tell(async (visit) => {
  const shop = createServer((_, answer) => answer.setHeader("content-type", "text/html").end("<title>A shop</title>"));
  await new Promise((listening) => shop.listen(0, "127.0.0.1", () => listening(undefined)));
  const place = /** @type {import("node:net").AddressInfo} */ (shop.address());
  const line = new Line(new URL(visit.origin));
  await line.mend();
  const code = await bundle("../../libs/client-typescript/dist/src/browser.js");
  const pages = new Pages(visit, line, code, `http://127.0.0.1:${place.port}/`);
  /** @type {Record<string, unknown>} */
  const seen = {};
  try {
    for (const [name, story] of Object.entries(STORIES)) {
      line.cut();
      seen[name] = await story(pages, name);
    }
  } finally {
    line.cut();
    shop.close();
  }
  // That it couldn't be reached is what was to be seen.
  visit.complaints = visit.complaints.filter((text) => !text.startsWith("Failed to load resource: net::ERR_"));
  return { events: EVENTS, ...seen };
});
