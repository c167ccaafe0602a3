/** Each call on a server that takes connections and never answers: it ends when its time is over, and says so. */
import assert from "node:assert/strict";
import net from "node:net";
import { after, test } from "node:test";

import { Client as Page } from "../src/browser.js";
import { DeadlineExceeded } from "../src/errors.js";
import { Client as Node } from "../src/node.js";

const TIMEOUT_MS = 100;
// Less than a call takes that nothing is said of, and far more than TIMEOUT_MS.
const PATIENCE_MS = 20_000;
const SETTINGS = Buffer.of(0, 0, 0, 4, 0, 0, 0, 0, 0);
const SQL = "SELECT COUNT(*) FROM events";

const servers: net.Server[] = [];
const connections: net.Socket[] = [];
after(() => {
  for (const server of servers) server.close();
  for (const connection of connections) connection.destroy();
});

/** The address of a server that says its first word, and then nothing. */
async function mute(firstWord: Uint8Array): Promise<string> {
  const server = net.createServer((connection) => {
    connections.push(connection.on("error", () => undefined));
    connection.write(firstWord);
  });
  servers.push(server);
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`;
}

async function first(items: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of items) return;
}

for (const [who, Client, firstWord] of [
  ["Node.js's client, on one that says no more than HTTP/2's first word", Node, SETTINGS],
  ["Node.js's client, on one that says nothing", Node, Buffer.of()],
  ["a page's client, on one that says nothing", Page, Buffer.of()],
] as const) {
  test(who, { timeout: PATIENCE_MS }, async () => {
    const penstock = new Client({ address: await mute(firstWord), key: "k", timeoutMs: TIMEOUT_MS, onRejected: () => undefined });
    const limit = { timeoutMs: TIMEOUT_MS };
    const calls = {
      sql: () => penstock.sql(SQL),
      query: () => penstock.query({ measures: { events: "COUNT(*)" } }),
      evaluate: () => penstock.evaluate("buyers"),
      stream: () => first(penstock.stream(SQL)),
      subscribe: () => first(penstock.subscribe(SQL, limit)),
      export: () => penstock.export(SQL, "csv", limit).bytes(),
      flush: async () => {
        await penstock.track({ eventType: "e" });
        await penstock.flush(limit);
      },
    };
    for (const [what, call] of Object.entries(calls)) await assert.rejects(call, DeadlineExceeded, what);
    assert.equal(penstock.pending, 1);
    await penstock.close({ timeoutMs: 0 });
  });
}
