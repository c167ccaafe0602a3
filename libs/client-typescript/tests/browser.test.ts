/** A page that is hidden or left, in a browser that refuses what it may: requests that outlive the page with more than 64 KiB at a time. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";

import { type BrowserOptions, Client } from "../src/browser.js";
import {
  AcknowledgementSchema,
  IdentifyRequestSchema,
  IdentifyResponseSchema,
  PublishRequestSchema,
  PublishResponseSchema,
} from "../src/gen/penstock/v1/ingest_pb.js";

const MOST_BYTES = 64 << 10;
const NEVER = 3_600_000;

interface Sent {
  readonly bytes: number;
  readonly keepalive: boolean;
  readonly key: string | null;
  /** Who is told of, or which events. */
  readonly what: string[];
}

interface Asked {
  readonly body: Uint8Array;
  readonly headers: Headers;
  readonly signal: AbortSignal;
  readonly keepalive?: boolean;
}

/** A browser with one page: its requests get answers when it is told so. */
class Browser {
  sent: Sent[] = [];
  refused = 0;
  /** The bytes of what outlives the page, the page's other requests among them. */
  underWay = 0;
  #answers = Promise.resolve();
  #answer = () => {};
  visibilityState = "visible";
  readonly document = new EventTarget();
  readonly page = new EventTarget();

  constructor() {
    Object.defineProperty(this.document, "visibilityState", { get: () => this.visibilityState });
    const add = this.page.addEventListener.bind(this.page);
    Object.assign(globalThis, { document: this.document, addEventListener: add, fetch: this.fetch });
  }

  show(state: "hidden" | "visible"): void {
    this.visibilityState = state;
    this.document.dispatchEvent(new Event("visibilitychange"));
  }

  /** As browsers do it: the page hears of it before it is hidden. */
  leave(): void {
    this.page.dispatchEvent(new Event("pagehide"));
    this.show("hidden");
  }

  comeBack(): void {
    this.page.dispatchEvent(new Event("pageshow"));
    this.show("visible");
  }

  hold(): void {
    this.#answers = new Promise((resolve) => (this.#answer = resolve));
  }

  answer(): void {
    this.#answer();
  }

  /** What outlives the page. */
  get outliving(): Sent[] {
    return this.sent.filter(({ keepalive }) => keepalive);
  }

  readonly fetch = async (input: string, { body, headers, signal, keepalive = false }: Asked) => {
    if (keepalive && this.underWay + body.length > MOST_BYTES) {
      this.refused += 1;
      throw new TypeError("Failed to fetch");
    }
    const counted = keepalive ? body.length : 0;
    this.underWay += counted;
    const message = body.subarray(5);
    const published = input.endsWith("/Publish") ? fromBinary(PublishRequestSchema, message).events : undefined;
    const what = published?.map(({ eventType }) => eventType.slice(0, 6).trim()) ?? [fromBinary(IdentifyRequestSchema, message).userId];
    this.sent.push({ bytes: body.length, keepalive, key: headers.get("authorization"), what });
    const aborted = new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    await Promise.race([this.#answers, aborted]);
    this.underWay -= counted;
    const acknowledgement = create(AcknowledgementSchema, { accepted: what.length, positionToken: "t".repeat(300) });
    const answer = published
      ? toBinary(PublishResponseSchema, create(PublishResponseSchema, { acknowledgement }))
      : toBinary(IdentifyResponseSchema, create(IdentifyResponseSchema, { positionToken: "t".repeat(300) }));
    const whole = Buffer.concat([frame(0, answer), frame(0x80, Buffer.from("grpc-status:0\r\n"))]);
    return new Response(whole, { headers: { "content-type": "application/grpc-web+proto" } });
  };
}

function frame(flag: number, content: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag);
  head.writeUInt32BE(content.length, 1);
  return Buffer.concat([head, content]);
}

let browser: Browser;
beforeEach(() => {
  browser = new Browser();
});

const clients: Client[] = [];
afterEach(() => Promise.all(clients.splice(0).map((client) => client.close({ timeoutMs: 0 }))));

function client(options: Partial<BrowserOptions> = {}): Client {
  const limits = { batchMs: NEVER, batchBytes: NEVER, batchEvents: NEVER };
  const made = new Client({ address: "http://there", key: "k", app: "shop", limits, onRejected: () => undefined, ...options });
  clients.push(made);
  return made;
}

/** So many events of about so many bytes, by their number. */
async function track(penstock: Client, events: number, bytes = 200, from = 0): Promise<void> {
  for (let n = from; n < from + events; n++) await penstock.track({ eventType: String(n).padEnd(bytes) });
}

/** All that is done without a timer is done. */
const settled = async () => {
  for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate);
};

const numbers = (events: number) => Array.from({ length: events }, (_, n) => String(n));

test("a page that is left sends as much as outlives it", async () => {
  const penstock = client();
  await track(penstock, 2000);
  browser.hold();
  browser.leave();
  await settled();
  const [first, ...others] = browser.outliving;
  assert.equal(others.length, 0);
  assert.ok(first!.bytes <= MOST_BYTES && first!.bytes > MOST_BYTES - 300, `${first!.bytes} bytes`);
  assert.deepEqual(first!.what, numbers(first!.what.length));
  assert.equal(browser.refused, 0);
});

test("it fills what there is to the last byte, whatever the sizes", async () => {
  for (const pad of [1, 20, 80, 90, 100, 110, 130, 5000]) {
    browser = new Browser();
    const penstock = client();
    await track(penstock, 3000, pad);
    browser.hold();
    browser.leave();
    await settled();
    const [{ bytes, what }] = browser.outliving as [Sent];
    const each = bytes / what.length;
    assert.ok(bytes <= MOST_BYTES && bytes + each > MOST_BYTES - 10, `${bytes} bytes of events of ${each}`);
    assert.equal(browser.refused, 0);
  }
});

test("what is too large to outlive a page keeps nothing else from it", async () => {
  const penstock = client();
  await penstock.track({ eventType: "large".padEnd(100_000) });
  await track(penstock, 3);
  browser.hold();
  browser.leave();
  await settled();
  assert.deepEqual(browser.outliving.map(({ what }) => what), [["0", "1", "2"]]);
});

test("who somebody is and what they did leave together, without waiting for each other", async () => {
  const penstock = client();
  await penstock.identify({ userId: "u1", traits: { plan: "pro" } });
  await track(penstock, 2);
  await penstock.identify({ userId: "u2", traits: { plan: "pro" } });
  await track(penstock, 2000, 200, 2);
  browser.hold();
  browser.leave();
  await settled();
  const sent = browser.outliving.map(({ what }) => what);
  assert.deepEqual(sent.slice(0, 3), [["u1"], ["0", "1"], ["u2"]]);
  assert.equal(sent[3]![0], "2");
  assert.equal(sent.length, 4);
  const bytes = browser.outliving.reduce((sum, { bytes }) => sum + bytes, 0);
  assert.ok(bytes <= MOST_BYTES && bytes > MOST_BYTES - 300, `${bytes} bytes`);
});

test("a batch that ends with the page leaves once more, and counts once", async () => {
  const penstock = client();
  browser.hold();
  await track(penstock, 2000);
  const flushed = penstock.flush();
  await settled();
  assert.deepEqual(browser.sent.map(({ keepalive, what }) => [keepalive, what.length]), [[false, 2000]]);
  browser.leave();
  await settled();
  const [again] = browser.outliving;
  assert.deepEqual(again!.what, numbers(again!.what.length));
  assert.ok(again!.bytes > MOST_BYTES - 300);
  browser.comeBack();
  browser.answer();
  assert.equal((await flushed).accepted, 2000);
});

test("what outlives the page already isn't sent again", async () => {
  const penstock = client();
  await track(penstock, 100);
  browser.hold();
  browser.show("hidden");
  await settled();
  await track(penstock, 100, 200, 100);
  browser.leave();
  await settled();
  assert.deepEqual(browser.outliving.flatMap(({ what }) => what), numbers(200));
});

test("a hidden page sends all, piece by piece and in order", async () => {
  const penstock = client();
  await track(penstock, 1500);
  await penstock.track({ eventType: "large".padEnd(100_000) });
  await track(penstock, 500, 200, 1500);
  browser.show("hidden");
  assert.equal((await penstock.flush()).accepted, 2001);
  assert.deepEqual(browser.sent.flatMap(({ what }) => what), [...numbers(1500), "large", ...numbers(2000).slice(1500)]);
  assert.deepEqual(browser.sent.filter(({ keepalive }) => !keepalive).map(({ what }) => what), [["large"]]);
  assert.equal(browser.refused, 0);
});

test("a hidden page whose other requests take the room sends all the same", async () => {
  const penstock = client();
  await track(penstock, 1000);
  browser.underWay = 60_000;
  browser.show("hidden");
  assert.equal((await penstock.flush()).accepted, 1000);
  assert.ok(browser.refused > 0);
});

test("what comes while nobody sees the page leaves at once", async () => {
  const penstock = client();
  browser.show("hidden");
  await track(penstock, 1);
  await settled();
  assert.deepEqual(browser.outliving.map(({ what }) => what), [["0"]]);
});

test("a page that is seen again sends large batches", async () => {
  const penstock = client();
  browser.leave();
  browser.comeBack();
  await track(penstock, 2000);
  assert.equal((await penstock.flush()).accepted, 2000);
  assert.deepEqual(browser.sent.map(({ keepalive, what }) => [keepalive, what.length]), [[false, 2000]]);
});

test("a page that is left has no time to ask for a key", async () => {
  const keys = ["first"];
  const penstock = client({ key: async () => keys.shift() ?? new Promise<string>(() => {}) });
  await track(penstock, 1);
  await penstock.flush();
  await track(penstock, 1, 200, 1);
  browser.leave();
  await settled();
  assert.deepEqual(browser.outliving.map(({ key, what }) => [key, what]), [["Bearer first", ["1"]]]);
});

test("where there is no database all is sent as ever, and the caller is told", async () => {
  const told: string[] = [];
  const onDiskFailed = ({ message }: Error) => told.push(message);
  const penstock = client({ directory: "events", onDiskFailed });
  await track(penstock, 3);
  assert.equal((await penstock.flush()).accepted, 3);
  assert.match(told.join(), /^UNAVAILABLE: what is queued is in memory alone.* indexedDB/);
});
