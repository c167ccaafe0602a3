import { create, equals } from "@bufbuild/protobuf";
import { durationMs, timestampDate } from "@bufbuild/protobuf/wkt";
import { cell } from "../../api/values";
import type { Filter } from "../../gen/penstock/v1/common_pb";
import {
  Earlier,
  type Grain,
  type Measure,
  type TimeRange,
  TimeRangeSchema,
  type TypedQuery,
  TypedQuerySchema,
} from "../../gen/penstock/v1/query_pb";
import type { Field } from "../../lib/fields";
import { instant, type Step } from "../../lib/format";
import {
  COUNT,
  type Draft,
  FIRST,
  type FilterDraft,
  type GrainDraft,
  type MeasureDraft,
  type Op,
  type Sort,
  type View,
} from "./draft";
import { GRAINS, OPS, PERIODS, queryOf, rangeOf, rangeText, SORTS } from "./wire";

/** The question of the explorer that asks this; undefined if none asks just this. */
export function draftOf(
  query: TypedQuery,
  view: View,
  appId: string,
  fields: readonly Field[],
  zone: string,
  appZone: string,
): Draft | undefined {
  const used = zone || appZone;
  const earlier = query.comparison?.to.case === "earlier" ? query.comparison.to.value : undefined;
  const grains: readonly GrainDraft[] = [FIRST.grain, stepOf(query.grain) ?? "none"];
  const draft: Draft = {
    ...FIRST,
    measures: query.measures.map(measureOf),
    by: query.dimensions.map(({ expression }) => expression),
    filters: query.filters.map((filter) => filterOf(filter, used)),
    range: nameOf(query.range, used) ?? "",
    zone,
    compare: earlier === undefined ? "none" : earlier === Earlier.YEAR ? "year" : "previous",
    top: query.top?.n ?? (query.dimensions.length === 0 ? FIRST.top : 0),
    view,
  };
  const same = create(TypedQuerySchema, { ...query, appId });
  return grains
    .map((grain) => ({ ...draft, grain }))
    .find((one) => {
      const again = queryOf(one, appId, fields, used);
      return again !== undefined && equals(TypedQuerySchema, again, same);
    });
}

/** The width of a grain's buckets. */
export function stepOf(grain: Grain): Step | undefined {
  return (Object.keys(GRAINS) as Step[]).find((step) => GRAINS[step] === grain);
}

/** A range as the explorer writes it, if it can. */
export function nameOf(range: TimeRange | undefined, zone: string): string | undefined {
  if (range === undefined) return undefined;
  const same = (name: string) => equals(TimeRangeSchema, create(TimeRangeSchema, rangeOf(name, zone)), range);
  const name = Object.keys(PERIODS).find(same);
  if (name !== undefined || range.from === undefined || range.to === undefined) return name;
  return [range.from, range.to].map((at) => instant(timestampDate(at), zone).replace(" ", "T")).join("/");
}

/** A range in words; of a tile, that is. */
export function rangeWords(range: TimeRange | undefined, zone: string): string {
  const name = nameOf(range, zone);
  if (name !== undefined) return rangeText(name);
  if (range?.last !== undefined) return `last ${Math.round(durationMs(range.last) / 60_000)} minutes`;
  if (range?.from !== undefined) return `since ${instant(timestampDate(range.from), zone)}`;
  if (range?.to !== undefined) return `until ${instant(timestampDate(range.to), zone)}`;
  return range?.period === undefined ? "all time" : "";
}

function measureOf({ name, formula }: Measure): MeasureDraft {
  const sorts = (Object.keys(SORTS) as Sort[]).filter((sort) => sort !== "formula");
  for (const sort of sorts) {
    const { of, formula: written, name: plain } = SORTS[sort];
    if (of === undefined) {
      if (formula === written("")) return { ...COUNT, sort, name: name === plain("") ? "" : name };
      continue;
    }
    const [before = "", behind = ""] = written("\n").split("\n");
    const field = formula.slice(before.length, formula.length - behind.length);
    // A field alone: what has more in it is a formula.
    if (formula === before + field + behind && /^(?:\w+|"[^"]+")(?:::\w+)?$/.test(field))
      return { ...COUNT, sort, field, name: name === plain(field) ? "" : name };
  }
  return { sort: "formula", field: "", formula, name: name === formula.trim() ? "" : name };
}

function filterOf({ field, op, values }: Filter, zone: string): FilterDraft {
  const written = values.map((value) => {
    const read = cell(value);
    return read instanceof Date ? instant(read, zone) : String(read);
  });
  const word = (Object.keys(OPS) as Op[]).find((one) => OPS[one].op === op) ?? "eq";
  return { field, op: word, values: written };
}
