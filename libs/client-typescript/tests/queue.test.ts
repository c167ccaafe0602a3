/** The queue by itself: what it keeps, when batches leave, what is sent again and what is not. */
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";

import { Closed, InvalidArgument, PenstockError, ResourceExhausted, Unauthenticated, Unavailable } from "../src/errors.js";
import { Files } from "../src/files.js";
import { Client } from "../src/node.js";
import { AcknowledgementSchema, type Event as WireEvent, type IdentifyRequest } from "../src/gen/penstock/v1/ingest_pb.js";
import { EVENT, Memory } from "../src/queue.js";
import { type Limits, type Rejection, Sender, type Wire, encodedEvent, encodedIdentity } from "../src/sender.js";
import { eventId, toValue } from "../src/values.js";

const NEVER = 3_600_000;
const ALL = 1 << 30;

const record = (text: string) => Buffer.concat([Buffer.of(EVENT), Buffer.from(text)]);
const texts = (records: Uint8Array[]) => records.map((record) => Buffer.from(record.subarray(1)).toString());

function scratch(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), "penstock-"));
}

function filled(dir: string, ...records: string[]): Files {
  const files = new Files(dir);
  for (const text of records) files.append(record(text));
  return files;
}

function left(dir: string): string[] {
  const files = new Files(dir);
  const found = [];
  while (files.records > 0) {
    const first = files.first(100, ALL);
    found.push(...texts(first));
    files.drop(first.length);
  }
  files.close();
  return found;
}

test("a key out of a file is good, and what no call could carry is refused at once", async () => {
  await new Client({ key: " pnsk_live_x\r\n" }).close();
  for (const key of [" \n", "a b", "a\nb", "pnsk_l\u00efve", "a\0"]) assert.throws(() => new Client({ key }), TypeError, JSON.stringify(key));
});

test("what is acknowledged is gone, and the rest is there at the next start", () => {
  const dir = scratch();
  const files = filled(dir, ..."abcdefghij");
  assert.deepEqual(texts(files.first(2, ALL)), ["a", "b"]);
  files.drop(3);
  files.close();
  const again = new Files(dir);
  assert.equal(again.records, 7);
  assert.deepEqual(texts(again.first(1, 1)), ["d"]);
  again.append(record("later"));
  again.drop(6);
  again.close();
  assert.deepEqual(left(dir), ["j", "later"]);
  assert.deepEqual(left(dir), []);
});

test("a torn end is cut off, and nothing before it", () => {
  for (let cut = 1; cut < record("three").length + 8; cut++) {
    const dir = scratch();
    filled(dir, "one", "two", "three").close();
    const file = path.join(dir, "00000001.queue");
    fs.truncateSync(file, fs.statSync(file).size - cut);
    assert.deepEqual(left(dir), ["one", "two"]);
  }
});

test("a record that was changed is not sent", () => {
  const dir = scratch();
  filled(dir, "one", "two").close();
  const file = path.join(dir, "00000001.queue");
  fs.writeFileSync(file, fs.readFileSync(file, "latin1").replace("two", "tvo"), "latin1");
  assert.deepEqual(left(dir), ["one"]);
});

test("many files are one queue, and those that are done are deleted", () => {
  const dir = scratch();
  const files = filled(dir, ...[..."01234"].map((digit) => digit.repeat(3 << 20)));
  const there = () => fs.readdirSync(dir).filter((name) => name.endsWith(".queue")).length;
  assert.ok(there() > 2);
  files.close();
  assert.deepEqual(left(dir).map((text) => text[0]), [..."01234"]);
  assert.ok(there() <= 1);
});

test("a directory is one client's, and after a process that ended the next one's", () => {
  const dir = scratch();
  const files = filled(dir, "one");
  assert.throws(() => new Files(dir), /another client has/);
  files.close();
  fs.writeFileSync(path.join(dir, "lock"), "4194304 1"); // no system counts so far
  assert.deepEqual(left(dir), ["one"]);
});

/** A server that does as it is told: refuses what `refusals` say, one call after another, and takes the rest. */
class House implements Wire {
  readonly batches: string[][] = [];
  readonly tokens: string[] = [];
  readonly refusals: PenstockError[];
  open: Promise<void> = Promise.resolve();

  constructor(...refusals: PenstockError[]) {
    this.refusals = refusals;
  }

  async publish(events: WireEvent[], positionToken: string) {
    await this.#take(events.map(({ eventType }) => eventType), positionToken);
    const bad = events.flatMap(({ eventType }, index) => (eventType === "bad" ? [index] : []));
    return create(AcknowledgementSchema, {
      accepted: events.length - bad.length,
      rejections: bad.map((index) => ({ index, code: "TOO_LONG", field: `events[${index}].properties.x`, message: "no" })),
      positionToken: `token ${this.batches.length}`,
    });
  }

  async identify({ userId, positionToken }: IdentifyRequest) {
    await this.#take([`identify ${userId}`], positionToken);
    return `token ${this.batches.length}`;
  }

  async #take(batch: string[], token: string) {
    await this.open;
    const refusal = this.refusals.shift();
    if (refusal) throw refusal;
    this.batches.push(batch);
    this.tokens.push(token);
  }
}

function sender(house: House, limits: Limits = {}) {
  const rejections: Rejection[] = [];
  const all = { batchEvents: 500, batchBytes: 1 << 20, batchMs: NEVER, queueBytes: 1 << 20, ...limits };
  const made = new Sender(new Memory(), house, all, (rejection) => rejections.push(rejection));
  const track = (...types: string[]) => {
    for (const eventType of types) assert.equal(made.offer(encodedEvent({ eventType, userId: "u" }).record), undefined);
  };
  return { sender: made, rejections, track };
}

const until = async (holds: () => boolean) => {
  while (!holds()) await new Promise(setImmediate);
};

test("batches leave by count, by bytes and by time, in order", async () => {
  const house = new House();
  const { sender: byCount, track } = sender(house, { batchEvents: 3 });
  track(..."abcdefg");
  assert.equal((await byCount.flush()).accepted, 7);
  assert.deepEqual(house.batches, [["a", "b", "c"], ["d", "e", "f"], ["g"]]);
  for (const limits of [{ batchBytes: 200 }, { batchMs: 1 }]) {
    const house = new House();
    sender(house, limits).track("x".repeat(120), "y".repeat(120));
    await until(() => house.batches.length > 0);
  }
});

test("each token covers what came before, and users are told of in their turn", async () => {
  const house = new House();
  const { sender: made, track } = sender(house);
  track("a", "b");
  made.offer(encodedIdentity({ userId: "u", traits: { plan: "pro" } }));
  track("c");
  assert.deepEqual(await made.flush(), { accepted: 3, rejected: 0, token: "token 3" });
  assert.deepEqual(house.batches, [["a", "b"], ["identify u"], ["c"]]);
  assert.deepEqual(house.tokens, ["", "token 1", "token 2"]);
});

test("what may succeed later is sent again", async () => {
  const busy = new ResourceExhausted("RESOURCE_EXHAUSTED", "busy", { reason: "RESOURCE_EXHAUSTED", retryAfterMs: 10 });
  const house = new House(new Unavailable("UNAVAILABLE", "away"), busy, new PenstockError("INTERNAL", "reset"));
  const { sender: made, track } = sender(house);
  track("a");
  assert.equal((await made.flush()).accepted, 1);
});

test("what can't succeed stays queued and says why", async () => {
  const house = new House(new Unauthenticated("UNAUTHENTICATED", "revoked", { reason: "UNAUTHENTICATED" }));
  const { sender: made, track } = sender(house);
  track("a");
  await assert.rejects(made.flush(), Unauthenticated);
  assert.deepEqual([made.pending, house.batches], [1, []]);
  assert.equal((await made.flush()).accepted, 1);
});

test("a batch that is too large is halved until it fits", async () => {
  const violations = [{ field: "events", reason: "TOO_LONG", description: "the limit is 1" }];
  const tooLong = new InvalidArgument("INVALID_ARGUMENT", "", { violations });
  const { sender: made, rejections, track } = sender(new House(tooLong, tooLong, tooLong));
  track(..."abcde");
  const { accepted, rejected } = await made.flush();
  assert.deepEqual([accepted, rejected, rejections[0]?.code], [4, 1, "TOO_LONG"]);
});

test("another installation's token is forgotten", async () => {
  const house = new House();
  const { sender: made, track } = sender(house);
  track("a");
  await made.flush();
  const violations = [{ field: "position_token", reason: "MALFORMED", description: "" }];
  house.refusals.push(new InvalidArgument("INVALID_ARGUMENT", "", { violations }));
  track("b");
  assert.equal((await made.flush()).accepted, 1);
  assert.deepEqual(house.tokens, ["", ""]);
});

test("each rejected event is handed back with its reason", async () => {
  const { sender: made, rejections, track } = sender(new House());
  track("good", "bad", "good");
  const { accepted, rejected } = await made.flush();
  assert.deepEqual([accepted, rejected], [2, 1]);
  assert.deepEqual([rejections[0]?.code, rejections[0]?.field, rejections[0]?.item.userId], ["TOO_LONG", "properties.x", "u"]);
});

test("a full queue takes no more until there is room", async () => {
  const house = new House();
  let open = () => {};
  house.open = new Promise((resolve) => (open = resolve));
  const { sender: made } = sender(house, { queueBytes: 500 });
  let [tracked, hasRoom] = [0, false];
  let room;
  while (!(room = made.offer(encodedEvent({ eventType: "e" }).record))) tracked += 1;
  void room.then(() => (hasRoom = true));
  await new Promise(setImmediate);
  assert.equal(hasRoom, false);
  open();
  await room;
  assert.equal(made.offer(encodedEvent({ eventType: "e" }).record), undefined);
  assert.equal((await made.flush()).accepted, tracked + 1);
});

test("what is not sent at the end is handed back", async () => {
  const { sender: made, rejections, track } = sender(new House());
  track("a", "b");
  await made.close();
  assert.deepEqual(rejections.map(({ code }) => code), ["NOT_SENT", "NOT_SENT"]);
  assert.throws(() => made.offer(encodedEvent({ eventType: "c" }).record), Closed);
});

test("ids ascend, and what can't be sent says so", () => {
  const ids = Array.from({ length: 10_000 }, eventId);
  assert.deepEqual(ids, [...new Set(ids)].sort());
  assert.match(ids[0]!, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  for (const value of [2n ** 60n, Number.NaN, new Date(Number.NaN), [], null]) {
    assert.throws(() => toValue(value, "properties.x"), /properties\.x/);
  }
});
