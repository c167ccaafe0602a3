// The polyglot story told by Protobuf-ES stubs on Connect's gRPC transport: see ../README.md.
import { env } from "node:process";
import { setTimeout } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { BadRequestSchema, ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { ColumnType, FilterOp, type Result, type Value } from "./gen/penstock/v1/common_pb.js";
import { type EventSchema, IngestService } from "./gen/penstock/v1/ingest_pb.js";
import { MetricsService } from "./gen/penstock/v1/metrics_pb.js";
import { QueryService } from "./gen/penstock/v1/query_pb.js";

type Event = MessageInitShape<typeof EventSchema>;

const appId = env["PENSTOCK_APP"] ?? "";
const transport = createGrpcTransport({
  baseUrl: `http://${env["PENSTOCK_ADDRESS"]}`,
  defaultTimeoutMs: 180_000,
  interceptors: [
    (next) => async (request) => {
      for (let tries = 1; ; tries++) {
        try {
          return await next(request);
        } catch (error) {
          // Whoever is told to come again does: a retry counts no event twice, since each has an id.
          const { code } = ConnectError.from(error);
          if (request.stream || tries === 5 || !(code === Code.Unavailable || code === Code.DeadlineExceeded)) throw error;
          await setTimeout(tries * 1000);
        }
      }
    },
    (next) => (request) => {
      request.header.set("authorization", `Bearer ${env["PENSTOCK_KEY"]}`);
      return next(request);
    },
  ],
});
const ingest = createClient(IngestService, transport);
const query = createClient(QueryService, transport);
const metrics = createClient(MetricsService, transport);

const { acknowledgement: verdict } = await ingest.publish({
  appId,
  events: [purchase("e1", "u1", 12.5, 2), purchase("e2", "u2", 7.25, 3), { eventId: "e3" }],
});

const typed = await query.query({
  query: {
    appId,
    measures: [
      { name: "revenue", formula: "SUM(amount)", unit: "EUR" },
      { name: "events", formula: "COUNT(*)" },
    ],
    dimensions: [{ expression: "user_id" }],
    filters: [{ field: "gift", op: FilterOp.EQ, values: [{ kind: { case: "bool", value: true } }] }],
    orderBy: [{ column: "revenue", descending: true }],
  },
  options: waiting(verdict?.positionToken),
});

const streamed: number[][] = [];
let sql: Result | undefined;
for await (const { sequence, acknowledgement } of ingest.publishStream(batches())) {
  streamed.push([Number(sequence), acknowledgement?.accepted ?? 0]);
  // Each token covers its own batch.
  const select =
    "SELECT event_type, COUNT(*) AS events, SUM(amount * quantity) AS worth, MAX(due) AS due " +
    "FROM events GROUP BY event_type ORDER BY event_type";
  sql = (await query.sql({ sql: select, appId, options: waiting(acknowledgement?.positionToken) })).result;
}

const created = await metrics.createMetric({
  appId,
  definition: { name: "revenue_per_user", formula: "SUM(amount) / COUNT(DISTINCT user_id)", unit: "EUR" },
});
const evaluated = await metrics.evaluate({ appId, name: "revenue_per_user" });

const refused = await query.query({ query: { appId, measures: [{ formula: "SUM(" }] } }).then(() => null, refusal);

console.log(
  JSON.stringify({
    published: {
      accepted: verdict?.accepted,
      rejections: verdict?.rejections.map((r) => ({ index: r.index, event_id: r.eventId, code: r.code, field: r.field })),
    },
    streamed,
    query: result(typed.result),
    sql: result(sql),
    metric: { created: created.metric?.version, evaluated: evaluated.version, result: result(evaluated.result) },
    refused,
  }),
);

/** Two batches for one connection; the second sends an event again. */
async function* batches() {
  yield { sequence: 1n, batch: { appId, events: [purchase("e4", "u3", 30.5, 1)] } };
  const view: Event = { eventId: "e5", eventType: "view", userId: "u1" };
  yield { sequence: 2n, batch: { appId, events: [purchase("e1", "u1", 12.5, 2), view] } };
}

function purchase(eventId: string, userId: string, amount: number, quantity: number): Event {
  const due = { seconds: BigInt(1_800_000_000 + quantity) };
  const properties: Event["properties"] = {
    amount: { kind: { case: "number", value: amount } },
    quantity: { kind: { case: "integer", value: BigInt(quantity) } },
    currency: { kind: { case: "string", value: "EUR" } },
    gift: { kind: { case: "bool", value: true } },
    due: { kind: { case: "time", value: due } },
  };
  return { eventId, eventType: "purchase", userId, properties };
}

function waiting(positionToken = "") {
  return { positionToken, maxWaitMs: 30_000 };
}

function result(answer: Result | undefined) {
  return {
    columns: answer?.columns.map((c) => [c.name, `COLUMN_TYPE_${ColumnType[c.type]}`, c.unit]),
    rows: answer?.rows.map((row) => row.values.map(plain)),
  };
}

function plain({ kind }: Value) {
  switch (kind.case) {
    case "integer":
      return Number(kind.value);
    case "time":
      return timestampDate(kind.value).toISOString().replace(".000Z", "Z");
    case "null":
    case undefined:
      return null;
    default:
      return kind.value;
  }
}

function refusal(error: unknown) {
  const refused = ConnectError.from(error);
  const [info] = refused.findDetails(ErrorInfoSchema);
  const [violation] = refused.findDetails(BadRequestSchema)[0]?.fieldViolations ?? [];
  return {
    code: Code[refused.code].replace(/(?<!^)([A-Z])/g, "_$1").toUpperCase(),
    reason: info?.reason,
    domain: info?.domain,
    violation: violation && {
      field: violation.field,
      reason: violation.reason,
      description: violation.description,
    },
  };
}
