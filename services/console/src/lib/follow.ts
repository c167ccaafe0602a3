import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import type { Api } from "../api/client";
import { type Fault, faultOf, isAborted } from "../api/fault";
import { type Cell, cell, type Table, tableOf } from "../api/values";
import type { Column, ResultInfo, Row } from "../gen/penstock/v1/common_pb";
import type { Evaluation } from "../gen/penstock/v1/metrics_pb";
import type { LiveChange, LiveState, SubscribeRequestSchema } from "../gen/penstock/v1/query_pb";

/** What can be followed. */
export type Question =
  | NonNullable<MessageInitShape<typeof SubscribeRequestSchema>["question"]>
  | { case: "metric"; value: { appId: string; name: string; version: number; evaluation: Evaluation } };

/** The newest state of an answer that follows its events. */
export interface Live {
  readonly table: Table | undefined;
  readonly info: ResultInfo | undefined;
  /** Why it can't be brought up to date at present; empty if it can. */
  readonly behind: string;
  /** Why it has ended. */
  readonly fault: Fault | undefined;
}

export const NOTHING: Live = { table: undefined, info: undefined, behind: "", fault: undefined };
/** Over plain HTTP a browser holds six connections to a server, whatever is on the page: two are left for questions. Over TLS all share one. */
const STREAMS = 4;
const streams = new Map<string, number>();
/** How often is asked what finds no stream free. */
const ASK_MS = 5_000;
const RETRY_MS = [500, 1_000, 2_000, 5_000, 10_000];

/** Rows by their keys, as pushes change them. */
export class Rows {
  private columns: readonly Column[] = [];
  private keys: readonly number[] = [];
  /** Of rows without a key of their own, how often each is there. */
  private rows = new Map<string, { cells: readonly Cell[]; times: number }>();

  state({ result, keyColumns }: LiveState) {
    this.columns = result?.columns ?? [];
    this.keys = keyColumns;
    this.rows = new Map();
    for (const row of result?.rows ?? []) this.put(row);
  }

  change({ removed, upserted }: LiveChange) {
    for (const row of removed) this.take(row);
    for (const row of upserted) this.put(row);
  }

  table(): Table {
    const rows = [...this.rows.values()].flatMap(({ cells, times }) => Array.from({ length: times }, () => cells));
    return { columns: this.columns, rows };
  }

  private put(row: Row) {
    const cells = row.values.map(cell);
    const key = keyOf(this.keys.length === 0 ? cells : this.keys.map((at) => cells[at] ?? null));
    const there = this.keys.length === 0 ? (this.rows.get(key)?.times ?? 0) : 0;
    this.rows.set(key, { cells, times: there + 1 });
  }

  private take(row: Row) {
    const key = keyOf(row.values.map(cell));
    const there = this.rows.get(key);
    if (there === undefined || there.times === 1) this.rows.delete(key);
    else this.rows.set(key, { ...there, times: there.times - 1 });
  }
}

function keyOf(cells: readonly Cell[]): string {
  return JSON.stringify(cells.map((value) => (typeof value === "bigint" ? `${value}n` : value)));
}

/** Takes a stream to the server if one is free. */
function taken(server: string): boolean {
  const open = streams.get(server) ?? 0;
  if (server.startsWith("http:") && open >= STREAMS) return false;
  streams.set(server, open + 1);
  return true;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => window.setTimeout(resolve, ms));
}

async function ask(api: Api, question: Question, zone: string, signal: AbortSignal): Promise<Live> {
  const options = { timeZone: zone };
  const { result } =
    question.case === "metric"
      ? await api.metrics.evaluate({ ...question.value, options }, { signal })
      : question.case === "sql"
        ? await api.query.sql({ sql: question.value.sql ?? "", appId: question.value.appId ?? "", options }, { signal })
        : await api.query.query({ ...(question.value && { query: question.value }), options }, { signal });
  return { table: tableOf(result), info: result?.info, behind: "", fault: undefined };
}

function subscribe(api: Api, question: Question, zone: string, intervalMs: number, signal: AbortSignal) {
  const common = { options: { timeZone: zone }, minInterval: durationFromMs(intervalMs) };
  return question.case === "metric"
    ? api.metrics.subscribeMetric({ ...question.value, ...common }, { signal })
    : api.query.subscribe({ question, ...common }, { signal });
}

/**
 * Follows an answer for as long as it is looked at; subscribes again when the server went away. Where the server's streams are all taken, it asks
 * every 5 s until one is free.
 */
export async function follow(
  api: Api,
  question: Question,
  zone: string,
  intervalMs: number,
  signal: AbortSignal,
  tell: (live: Live) => void,
) {
  let live = NOTHING;
  for (let failures = 0; !signal.aborted; failures += 1) {
    const isStreaming = taken(api.server);
    try {
      if (!isStreaming) {
        live = await ask(api, question, zone, signal);
        if (signal.aborted) return;
        tell(live);
        failures = -1;
        await pause(ASK_MS);
        continue;
      }
      const rows = new Rows();
      for await (const { push } of subscribe(api, question, zone, intervalMs, signal)) {
        failures = 0;
        if (push.case === "state") rows.state(push.value);
        if (push.case === "change") rows.change(push.value);
        if (push.case === "heartbeat") live = { ...live, behind: push.value.behind };
        else
          live = {
            table: rows.table(),
            info: (push.case === "state" ? push.value.result?.info : push.value?.info) ?? live.info,
            behind: "",
            fault: undefined,
          };
        tell(live);
      }
    } catch (error) {
      if (signal.aborted || isAborted(error)) return;
      const fault = faultOf(error);
      if (fault.code !== Code.Unavailable) return tell({ ...live, fault });
      live = { ...live, behind: "The server went away; trying again." };
      tell(live);
    } finally {
      if (isStreaming) streams.set(api.server, (streams.get(api.server) ?? 1) - 1);
    }
    await pause(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)] ?? 0);
  }
}
