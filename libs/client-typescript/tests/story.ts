/** What the end-to-end test has this client do: see services/penstock/tests/e2e/libraries.rs. Every language's client has such a program. */
import { Client, InvalidArgument, type NodeOptions, type Query, QueueFull, type Rejection } from "@penstock/client";

const SQL = "SELECT event_type, COUNT(*) AS events, SUM(amount) AS amount FROM events GROUP BY event_type ORDER BY event_type";
const REVENUE: Query = {
  measures: { revenue: "SUM(amount)" },
  dimensions: ["user_plan"],
  filters: [["status", "in", ["done", "sent"]]],
  orderBy: ["-revenue"],
};
const LIVE: Query = { measures: { orders: "COUNT(*)" }, dimensions: ["user_id"], filters: [["event_type", "=", "order"]] };
const WRONG = "SELECT COUNT(*) FROM events WHERE nothing(";

/** A client as the environment says; in the browser's build nothing comes from there by itself. */
function client(options: NodeOptions): Client {
  const { PENSTOCK_ADDRESS, PENSTOCK_KEY = "", PENSTOCK_APP = "" } = process.env;
  return new Client({ address: `http://${PENSTOCK_ADDRESS}`, key: () => PENSTOCK_KEY, app: PENSTOCK_APP, ...options });
}

async function story() {
  const rejections: object[] = [];
  const onRejected = ({ code, field, item }: Rejection) => rejections.push({ code, field, user: item.userId });
  const penstock = client({ limits: { batchMs: 60_000 }, readYourWrites: true, onRejected });
  for (let n = 0; n < 20; n++) {
    await penstock.identify({ userId: `u${n}`, traits: { plan: n % 2 ? "pro" : "free" } });
    const properties = { amount: n + 0.125, status: "done", gift: n === 0, coupon: null };
    await penstock.track({ eventType: "order", userId: `u${n}`, properties });
  }
  await penstock.track({ eventType: "", userId: "nobody" });
  await penstock.identify({ userId: "u0", traits: { plan: 7 } });
  const flushed = await penstock.flush({ timeoutMs: 60_000 });

  // Includes each of its writes, in whatever partition.
  const sql = await penstock.sql<{ event_type: string; events: number; amount: number }>(SQL);
  const query = await penstock.query<{ user_plan: string; revenue: number }>(REVENUE);
  const metric = await penstock.evaluate<{ buyers: number }>("buyers", { filters: [["user_plan", "=", "pro"]] });
  let rows = 0;
  for await (const { event_id } of penstock.stream<{ event_id: string }>("SELECT event_id FROM events")) rows += event_id ? 1 : 0;
  const lines = await penstock.export("SELECT user_id, amount FROM events ORDER BY amount", "ndjson").text();
  const exported = lines.trim().split("\n").map((line) => (JSON.parse(line) as { amount: number }).amount);
  const csv = await penstock.export("SELECT MAX(amount) AS most FROM events", "csv").text();
  const wrong = await penstock.sql(WRONG).then(
    () => undefined,
    (error: unknown) => {
      if (!(error instanceof InvalidArgument)) throw error;
      const { code, reason, violations, position } = error;
      return { code, reason, fields: violations.map(({ field }) => field), position };
    },
  );
  const seen: Map<string, number>[] = [];
  for await (const { rows } of penstock.subscribe<{ user_id: string; orders: number }>(LIVE, { minIntervalMs: 200 })) {
    seen.push(new Map(rows.map(({ user_id, orders }) => [user_id, orders])));
    if (seen.length === 1) {
      for (const userId of ["u0", "new"]) await penstock.track({ eventType: "order", userId });
      await penstock.flush({ timeoutMs: 60_000 });
    }
    if (seen.at(-1)!.get("u0") === 2 && seen.at(-1)!.has("new")) break;
  }
  await penstock.close();
  if (!(sql.info.completeUntil! < new Date())) throw new Error("the answer is not as of some time before");
  return {
    flushed: [flushed.accepted, flushed.rejected],
    rejections,
    columns: sql.columns.map(({ name, type }) => [name, type]),
    sql: sql.rows.map((row) => [row.event_type, row.events, row.amount]),
    query: query.rows,
    metric: metric.rows[0]!.buyers,
    rows,
    export: [exported.length, ...exported.slice(0, 2)],
    csv,
    wrong,
    live: [seen[0]!.size, seen[0]!.get("u0"), seen.at(-1)!.size],
  };
}

/** Sends so many through whatever happens, with a queue much smaller than they are. Says how far it is. */
async function send(events: number) {
  const limits = { batchEvents: 50, batchMs: 10, queueBytes: 64 << 10 };
  const penstock = client({ limits, timeoutMs: 5000 });
  let most = 0;
  for (let n = 0; n < events; n++) {
    await penstock.track({ eventType: "sent", userId: `u${n % 17}`, properties: { n, pad: "x".repeat(100) } });
    most = Math.max(most, penstock.pending);
    if (n % 100 === 99) console.log(n + 1);
  }
  const { accepted, rejected } = await penstock.flush({ timeoutMs: 100_000 });
  await penstock.close();
  return { accepted, rejected, bounded: most < 1000 };
}

/** Queues so many on disk, says so, and waits for its end. */
async function leave(events: number) {
  const penstock = client(onDisk());
  for (let n = 0; n < events; n++) await penstock.track({ eventType: "left", userId: `u${n % 17}`, properties: { n } });
  console.log("queued");
  await new Promise(() => setInterval(() => undefined, 1000));
}

/** Queues so many and ends without a word: the process lives until they are sent. */
function end(events: number) {
  const penstock = client({});
  for (let n = 0; n < events; n++) void penstock.track({ eventType: "ended", userId: `u${n % 17}`, properties: { n } });
  return { queued: penstock.pending };
}

/** Sends what another process left. */
async function resume() {
  const penstock = client(onDisk());
  const { accepted, rejected } = await penstock.flush({ timeoutMs: 100_000 });
  await penstock.close();
  return { accepted, rejected };
}

function onDisk(): NodeOptions {
  return { directory: process.env["PENSTOCK_DIRECTORY"]! };
}

/** Queues without a server until there is no more room, in memory or on disk. Says how many were taken, and how many came back at the end. */
async function full(events: number) {
  const handedBack: Rejection[] = [];
  const onRejected = (rejection: Rejection) => handedBack.push(rejection);
  const { PENSTOCK_DIRECTORY } = process.env;
  const where = PENSTOCK_DIRECTORY === undefined ? {} : onDisk();
  const penstock = client({ ...where, whenFull: "throw", limits: { queueBytes: 64 << 10 }, onRejected });
  let queued = 0;
  try {
    for (; queued < events; queued++) await penstock.track({ eventType: "full", properties: { n: queued, pad: "x".repeat(100) } });
  } catch (error) {
    if (!(error instanceof QueueFull)) throw error;
  }
  await penstock.close({ timeoutMs: 100 });
  const notSent = handedBack.filter(({ code }) => code === "NOT_SENT").length;
  return { queued, handed_back: notSent };
}

const tellings: Record<string, (events: number) => unknown> = { story, web: story, send, leave, end, resume, full };
const [what = "", events] = process.argv.slice(2);
console.log(JSON.stringify(await tellings[what]!(Number(events))));
