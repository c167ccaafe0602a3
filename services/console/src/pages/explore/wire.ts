import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { toValue } from "../../api/values";
import { FilterOp, type FilterSchema } from "../../gen/penstock/v1/common_pb";
import {
  Earlier,
  Fill,
  Grain,
  type PeriodSchema,
  type TimeRangeSchema,
  type TypedQuery,
  TypedQuerySchema,
} from "../../gen/penstock/v1/query_pb";
import type { Field, Kind } from "../../lib/fields";
import type { Step } from "../../lib/format";
import { inZone } from "../../lib/zone";
import type { Draft, FilterDraft, MeasureDraft, Op, Sort } from "./draft";

export const SORTS: Record<
  Sort,
  { label: string; of?: "number" | "any"; formula(field: string): string; name(field: string): string }
> = {
  count: { label: "Events", formula: () => "COUNT(*)", name: () => "Events" },
  users: { label: "Users", formula: () => "COUNT(DISTINCT user_id)", name: () => "Users" },
  sum: { label: "Sum of", of: "number", formula: (f) => `SUM(${f})`, name: (f) => `Sum of ${f}` },
  avg: { label: "Average of", of: "number", formula: (f) => `AVG(${f})`, name: (f) => `Average ${f}` },
  median: { label: "Median of", of: "number", formula: (f) => `PERCENTILE(0.5, ${f})`, name: (f) => `Median ${f}` },
  p95: { label: "95th percentile of", of: "number", formula: (f) => `PERCENTILE(0.95, ${f})`, name: (f) => `P95 ${f}` },
  min: { label: "Least", of: "number", formula: (f) => `MIN(${f})`, name: (f) => `Least ${f}` },
  max: { label: "Greatest", of: "number", formula: (f) => `MAX(${f})`, name: (f) => `Greatest ${f}` },
  distinct: {
    label: "Different values of",
    of: "any",
    formula: (f) => `COUNT(DISTINCT ${f})`,
    name: (f) => `Different ${f}`,
  },
  formula: { label: "Formula", formula: (f) => f, name: (f) => f },
};

/** Whether there is enough of it to be asked. */
export function isWhole(measure: MeasureDraft): boolean {
  const sort = SORTS[measure.sort];
  return measure.sort === "formula" ? measure.formula.trim() !== "" : sort.of === undefined || measure.field !== "";
}

export function formulaOf(measure: MeasureDraft): string {
  return measure.sort === "formula" ? measure.formula : SORTS[measure.sort].formula(measure.field);
}

/** Names of columns, each once. */
export function namesOf(measures: readonly MeasureDraft[]): string[] {
  const seen = new Map<string, number>();
  return measures.map((measure) => {
    const plain =
      measure.name.trim() ||
      SORTS[measure.sort].name(measure.sort === "formula" ? measure.formula.trim() : measure.field);
    const times = (seen.get(plain) ?? 0) + 1;
    seen.set(plain, times);
    return times === 1 ? plain : `${plain} (${times})`;
  });
}

const HOUR = 3_600_000;

interface Span {
  label: string;
  ms: number;
  /** How it is said: the time up to now, or units of the calendar. */
  last?: number;
  period?: MessageInitShape<typeof PeriodSchema>;
}

export const PERIODS: Record<string, Span> = {
  "1h": { label: "Last hour", ms: HOUR, last: HOUR },
  "24h": { label: "Last 24 hours", ms: 24 * HOUR, last: 24 * HOUR },
  "7d": { label: "Last 7 days", ms: 168 * HOUR, last: 168 * HOUR },
  "30d": { label: "Last 30 days", ms: 720 * HOUR, last: 720 * HOUR },
  "90d": { label: "Last 90 days", ms: 2_160 * HOUR, last: 2_160 * HOUR },
  today: { label: "Today", ms: 24 * HOUR, period: { unit: Grain.DAY } },
  yesterday: { label: "Yesterday", ms: 24 * HOUR, period: { unit: Grain.DAY, ago: 1 } },
  week: { label: "This week", ms: 168 * HOUR, period: { unit: Grain.WEEK } },
  lastWeek: { label: "Last week", ms: 168 * HOUR, period: { unit: Grain.WEEK, ago: 1 } },
  month: { label: "This month", ms: 744 * HOUR, period: { unit: Grain.MONTH } },
  lastMonth: { label: "Last month", ms: 744 * HOUR, period: { unit: Grain.MONTH, ago: 1 } },
  year: { label: "This year", ms: 8_784 * HOUR, period: { unit: Grain.YEAR } },
};

/** A range, in words. */
export function rangeText(range: string): string {
  return PERIODS[range]?.label.toLowerCase() ?? range.replace("/", " – ").replaceAll("T", " ");
}

/** Two instants, as "2026-01-31T10:00/2026-02-01T10:00" in the zone. */
export function between(range: string, zone: string): { from: Date; to: Date } | undefined {
  const [from, to] = range.split("/").map((text) => inZone(text, zone));
  return from && to && from < to ? { from, to } : undefined;
}

export function rangeOf(range: string, zone: string): MessageInitShape<typeof TimeRangeSchema> | undefined {
  const period = PERIODS[range];
  if (period?.last !== undefined) return { last: durationFromMs(period.last) };
  if (period?.period !== undefined) return { period: period.period };
  const chosen = between(range, zone);
  return chosen && { from: timestampFromMs(chosen.from.getTime()), to: timestampFromMs(chosen.to.getTime()) };
}

export const GRAINS: Record<Step, Grain> = {
  minute: Grain.MINUTE,
  hour: Grain.HOUR,
  day: Grain.DAY,
  week: Grain.WEEK,
  month: Grain.MONTH,
  quarter: Grain.QUARTER,
  year: Grain.YEAR,
};

/** The width of the buckets: what is asked for, else what makes some dozens of them. */
export function stepOf({ grain, view, range }: Draft, zone: string): Step | undefined {
  if (view === "map") return undefined;
  if (grain !== "auto" && grain !== "none") return grain;
  if (grain === "none" && view !== "line" && view !== "share") return undefined;
  if (grain === "auto" && (view === "bar" || view === "table")) return undefined;
  const chosen = between(range, zone);
  const ms = PERIODS[range]?.ms ?? (chosen ? chosen.to.getTime() - chosen.from.getTime() : 0);
  if (ms <= 3 * HOUR) return "minute";
  if (ms <= 72 * HOUR) return "hour";
  if (ms <= 2_400 * HOUR) return "day";
  return ms <= 12_000 * HOUR ? "week" : "month";
}

export const OPS: Record<Op, { label: string; op: FilterOp; takes: "none" | "one" | "many"; kinds: readonly Kind[] }> =
  {
    eq: { label: "is", op: FilterOp.EQ, takes: "one", kinds: ["string", "number", "bool", "time"] },
    ne: { label: "is not", op: FilterOp.NE, takes: "one", kinds: ["string", "number", "bool"] },
    in: { label: "is one of", op: FilterOp.IN, takes: "many", kinds: ["string", "number"] },
    notIn: { label: "is none of", op: FilterOp.NOT_IN, takes: "many", kinds: ["string", "number"] },
    like: { label: "is like", op: FilterOp.LIKE, takes: "one", kinds: ["string"] },
    gt: { label: ">", op: FilterOp.GT, takes: "one", kinds: ["number", "time"] },
    ge: { label: "≥", op: FilterOp.GE, takes: "one", kinds: ["number", "time"] },
    lt: { label: "<", op: FilterOp.LT, takes: "one", kinds: ["number", "time"] },
    le: { label: "≤", op: FilterOp.LE, takes: "one", kinds: ["number", "time"] },
    notNull: {
      label: "has a value",
      op: FilterOp.IS_NOT_NULL,
      takes: "none",
      kinds: ["string", "number", "bool", "time"],
    },
    null: { label: "has no value", op: FilterOp.IS_NULL, takes: "none", kinds: ["string", "number", "bool", "time"] },
  };

export function isFilterWhole({ field, op, values }: FilterDraft): boolean {
  return field !== "" && (OPS[op].takes === "none" || (values.length > 0 && values[0] !== ""));
}

export function filterOf(
  filter: FilterDraft,
  fields: readonly Field[],
  zone: string,
): MessageInitShape<typeof FilterSchema> {
  const kind = fields.find((field) => field.text === filter.field)?.kind ?? "string";
  const typed = (text: string) => {
    if (kind === "number" && text.trim() !== "" && Number.isFinite(Number(text))) return toValue(Number(text));
    if (kind === "bool") return toValue(text === "true");
    if (kind === "time") return toValue(inZone(text, zone) ?? text);
    return toValue(text);
  };
  const values = OPS[filter.op].takes === "none" ? [] : filter.values.map(typed);
  return { field: filter.field, op: OPS[filter.op].op, values };
}

/** The typed query; undefined while there is too little to ask. */
export function queryOf(draft: Draft, appId: string, fields: readonly Field[], zone: string): TypedQuery | undefined {
  const range = rangeOf(draft.range, zone);
  if (range === undefined || !draft.measures.every(isWhole)) return undefined;
  const names = namesOf(draft.measures);
  const step = stepOf(draft, zone);
  const chosen = draft.by.filter((field) => field !== "");
  const by = draft.view === "map" ? chosen.slice(0, 1) : chosen;
  const isText = by[0] !== undefined && fields.find((field) => field.text === by[0])?.kind === "string";
  return create(TypedQuerySchema, {
    appId,
    measures: draft.measures.map((measure, m) => ({ name: names[m] ?? "", formula: formulaOf(measure) })),
    dimensions: by.map((expression) => ({ expression })),
    filters: draft.filters.filter(isFilterWhole).map((filter) => filterOf(filter, fields, zone)),
    range,
    ...(step === undefined
      ? { orderBy: [{ column: names[0] ?? "", descending: true }] }
      : { grain: GRAINS[step], fill: Fill.ZERO }),
    ...(draft.compare === "none"
      ? {}
      : {
          comparison: {
            to: { case: "earlier" as const, value: draft.compare === "year" ? Earlier.YEAR : Earlier.PREVIOUS },
          },
        }),
    // What is beyond the greatest is counted together; of numbers nobody could say how.
    ...(by[0] !== undefined && draft.top > 0 && draft.view !== "map"
      ? { top: { n: draft.top, dimension: by[0], others: isText ? "others" : "" } }
      : {}),
    totals: true,
  });
}
