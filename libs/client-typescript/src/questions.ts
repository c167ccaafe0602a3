/** What can be asked: SQL as text, or a `Query`. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";

import { FilterOp, Priority as WirePriority, type FilterSchema, type ReadOptionsSchema } from "./gen/penstock/v1/common_pb.js";
import type { EvaluationSchema } from "./gen/penstock/v1/metrics_pb.js";
import {
  Earlier,
  Fill,
  Grain as WireGrain,
  type MeasureSchema,
  type TimeRangeSchema,
  type TypedQuerySchema,
} from "./gen/penstock/v1/query_pb.js";
import { type Scalar, toValue } from "./values.js";

/** How long the server waits for a token at most. */
const LONGEST_WAIT_MS = 30_000;

const GRAINS: Readonly<Record<Grain, WireGrain>> = {
  minute: WireGrain.MINUTE,
  hour: WireGrain.HOUR,
  day: WireGrain.DAY,
  week: WireGrain.WEEK,
  month: WireGrain.MONTH,
  quarter: WireGrain.QUARTER,
  year: WireGrain.YEAR,
};
const OPS: Readonly<Record<Op, FilterOp>> = {
  "=": FilterOp.EQ,
  "!=": FilterOp.NE,
  "<": FilterOp.LT,
  "<=": FilterOp.LE,
  ">": FilterOp.GT,
  ">=": FilterOp.GE,
  in: FilterOp.IN,
  "not in": FilterOp.NOT_IN,
  like: FilterOp.LIKE,
  "is null": FilterOp.IS_NULL,
  "is not null": FilterOp.IS_NOT_NULL,
};
const PRIORITIES: Readonly<Record<Priority, WirePriority>> = {
  interactive: WirePriority.INTERACTIVE,
  scheduled: WirePriority.SCHEDULED,
  background: WirePriority.BACKGROUND,
};

/** The width of a time bucket. Weeks begin on Monday. */
export type Grain = "minute" | "hour" | "day" | "week" | "month" | "quarter" | "year";
/** How a filter compares. "in" and "not in" take several values, "is null" and "is not null" none, all others one. */
export type Op = "=" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in" | "like" | "is null" | "is not null";
/** How urgent a question is: a person waits; nobody waits, but it is wanted soon; or whenever there is room. */
export type Priority = "interactive" | "scheduled" | "background";

/** What to compute: a formula, as in "SUM(amount) / COUNT(DISTINCT user_id)", or one with the unit of its value. */
export type Measure =
  | string
  | {
      /** As in "SUM(amount) / COUNT(DISTINCT user_id)". */
      readonly formula: string;
      /** The unit of the value, as in "USD". Default: what comes of the units of the formulas that it names. */
      readonly unit?: string;
    };

/** A condition on a field or property: `["status", "=", "completed"]`, `["country", "in", ["DE", "FR"]]`, `["plan", "is null"]`. */
export type Filter = readonly [field: string, op: Op, value?: Scalar | readonly Scalar[]];

/** A range of time: from an instant up to another, excluded; the time up to now; or whole units of the calendar in the query's zone. */
export type Range =
  | {
      /** The first instant. Default: there is none. */
      readonly from?: Date;
      /** The instant at which it ends, which isn't in it any more. Default: there is none. */
      readonly to?: Date;
    }
  | {
      /** How long the time up to now is, in milliseconds. */
      readonly lastMs: number;
    }
  | {
      /** The unit of the calendar: `{ period: "month" }` is this month. */
      readonly period: Grain;
      /** How many units the last of them lies back: `{ period: "day", ago: 1 }` is yesterday. Default: 0, the one that is now, up to its end. */
      readonly ago?: number;
      /** How many units. Default: 1. */
      readonly count?: number;
    };

/** By what an answer is split, and of what. */
export interface Shape {
  /** By what to group: expressions by the names of their columns, or expressions alone. */
  readonly dimensions?: Readonly<Record<string, string>> | readonly string[];
  /** Conditions, all to be met. */
  readonly filters?: readonly Filter[];
  /** The time range. Default: all time. */
  readonly range?: Range;
  /** Time buckets; their start becomes the first column, "time". */
  readonly grain?: Grain;
  /** Columns to sort by; "-revenue" sorts by it descending. */
  readonly orderBy?: readonly string[];
  /** The most rows wanted. Default: all. */
  readonly limit?: number;
  /** A condition on rows, as in "revenue > 100". */
  readonly having?: string;
  /** Compare with the time right before, the same a year before, or the time from an instant on. */
  readonly compare?: "previous" | "year" | Date;
  /** Rows for buckets without events. */
  readonly fill?: "zero" | "null";
  /** Of one dimension only the values with the greatest measures. */
  readonly top?: {
    /** How many values, 1 to 1,000. */
    readonly n: number;
    /** The dimension's column. Default: the first. */
    readonly dimension?: string;
    /** The measure's column. Default: the first. */
    readonly by?: string;
    /** What the events of all other values are counted under. Default: they are left out. */
    readonly others?: string;
  };
  /** A last row for all events, marked in the column "is_total". */
  readonly totals?: boolean;
}

/** A typed question. */
export interface Query extends Shape {
  /** What to compute: formulas by the names of their columns, or formulas alone. */
  readonly measures: Readonly<Record<string, Measure>> | readonly string[];
  /** Rows to pass over first. */
  readonly offset?: number;
}

/** SQL as text, or a typed query. */
export type Question = string | Query;

/** What became of what was queued. */
export interface Flushed {
  /** How many events were accepted since the last flush: durable, and counted once each. */
  readonly accepted: number;
  /** How many were not; each was given to `onRejected`. */
  readonly rejected: number;
  /** Covers all that this client ever sent: `after` of a question that is to include it. Empty if nothing was accepted yet. */
  readonly token: string;
}

/** What a read waits for, how urgent it is and in which zone it counts. */
export interface ReadOptions {
  /** What the answer is to include: a flush, or a token. Default: nothing, or with `readYourWrites` all that this client flushed. */
  readonly after?: Flushed | string;
  /** How long the server waits for that, in milliseconds: at most 30,000. Default: as long as the call may take. */
  readonly waitMs?: number;
  /** IANA name of the zone in which days, weeks and months begin. Default: the app's. */
  readonly timeZone?: string;
  /** How urgent it is. Default: as the settings say, else as urgent as the key allows. */
  readonly priority?: Priority;
  /** How old an earlier answer may be, in milliseconds, that is given while the warehouse can't be reached. Default: none is. */
  readonly maxStalenessMs?: number;
  /** How long the call may take, in milliseconds. Default: the client's. */
  readonly timeoutMs?: number;
  /** Ends the call. */
  readonly signal?: AbortSignal;
  /** The app. Default: the client's. */
  readonly app?: string;
}

/** The options of a read; without `after` it includes what `ownToken` covers. */
export function optionsToWire(options: ReadOptions, ownToken: string): MessageInitShape<typeof ReadOptionsSchema> {
  const after = options.after ?? ownToken;
  return {
    positionToken: typeof after === "string" ? after : after.token,
    timeZone: options.timeZone ?? "",
    maxWaitMs: Math.max(1, Math.round(Math.min(options.waitMs ?? options.timeoutMs ?? LONGEST_WAIT_MS, LONGEST_WAIT_MS))),
    ...(options.priority && { priority: PRIORITIES[options.priority] }),
    ...(options.maxStalenessMs !== undefined && { maxStaleness: duration(options.maxStalenessMs) }),
  };
}

/** A typed query as the contracts have it. */
export function queryToWire(query: Query, appId: string): MessageInitShape<typeof TypedQuerySchema> {
  const measure = ([name, what]: [string, Measure]): MessageInitShape<typeof MeasureSchema> =>
    typeof what === "string" ? { name, formula: what } : { name, ...what };
  return {
    appId,
    measures: named<Measure>(query.measures).map(measure),
    offset: query.offset ?? 0,
    ...shapeToWire(query),
  };
}

/** What a typed query and the evaluation of a metric have in common. */
export function shapeToWire(shape: Shape) {
  const { range, compare, fill, top } = shape;
  return {
    dimensions: named<string>(shape.dimensions ?? []).map(([name, expression]) => ({ name, expression })),
    filters: (shape.filters ?? []).map(filterToWire),
    ...(range && { range: rangeToWire(range) }),
    grain: shape.grain ? known(GRAINS, shape.grain, "grain") : WireGrain.UNSPECIFIED,
    orderBy: (shape.orderBy ?? []).map((column) => ({
      column: column.replace(/^-/, ""),
      descending: column.startsWith("-"),
    })),
    limit: shape.limit ?? 0,
    having: shape.having ?? "",
    ...(compare && { comparison: comparisonToWire(compare) }),
    fill: fill ? { zero: Fill.ZERO, null: Fill.NULL }[fill] : Fill.UNSPECIFIED,
    ...(top && { top: { ...top } }),
    totals: shape.totals ?? false,
  } satisfies MessageInitShape<typeof EvaluationSchema>;
}

function comparisonToWire(compare: "previous" | "year" | Date) {
  if (compare instanceof Date) return { to: { case: "from" as const, value: timestampFromDate(compare) } };
  const value = compare === "year" ? Earlier.YEAR : Earlier.PREVIOUS;
  return { to: { case: "earlier" as const, value } };
}

function filterToWire([field, op, value]: Filter): MessageInitShape<typeof FilterSchema> {
  const where = `the filter on ${field}`;
  const values = value === undefined ? [] : Array.isArray(value) ? (value as readonly Scalar[]) : [value as Scalar];
  return { field, op: known(OPS, op, "operator"), values: values.map((value) => toValue(value, where)) };
}

function rangeToWire(range: Range): MessageInitShape<typeof TimeRangeSchema> {
  if ("lastMs" in range) return { last: duration(range.lastMs) };
  if ("period" in range) {
    return { period: { unit: known(GRAINS, range.period, "grain"), ago: range.ago ?? 0, count: range.count ?? 1 } };
  }
  return {
    ...(range.from && { from: timestampFromDate(range.from) }),
    ...(range.to && { to: timestampFromDate(range.to) }),
  };
}

/** Milliseconds as the contracts have them. */
export function duration(ms: number) {
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

function named<T>(things: Readonly<Record<string, T>> | readonly string[]): [string, T | string][] {
  return Array.isArray(things) ? things.map((thing: string) => ["", thing]) : Object.entries(things);
}

/** What a name means, also where no compiler checked it. */
function known<T>(names: Record<string, T>, name: string, what: string): T {
  const value = names[name];
  if (value === undefined) throw new TypeError(`there is no ${what} ${name}: there are ${Object.keys(names).join(", ")}`);
  return value;
}
