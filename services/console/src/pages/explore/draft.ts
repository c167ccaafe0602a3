import type { Step } from "../../lib/format";

/** How a measure is put together; `formula` is written by hand. */
export type Sort = "count" | "users" | "distinct" | "sum" | "avg" | "min" | "max" | "median" | "p95" | "formula";

export interface MeasureDraft {
  readonly sort: Sort;
  readonly field: string;
  readonly formula: string;
  readonly name: string;
}

export type Op = "eq" | "ne" | "gt" | "ge" | "lt" | "le" | "in" | "notIn" | "like" | "null" | "notNull";

export interface FilterDraft {
  readonly field: string;
  readonly op: Op;
  readonly values: readonly string[];
}

/** A name of PERIODS, or two instants as they are typed, in the question's zone. */
export type RangeDraft = string;
export type GrainDraft = "auto" | "none" | Step;
export type View = "line" | "bar" | "table" | "share" | "map";

/** A question as the explorer has it: small, and whole in the address. */
export interface Draft {
  readonly measures: readonly MeasureDraft[];
  readonly by: readonly string[];
  readonly filters: readonly FilterDraft[];
  readonly range: RangeDraft;
  readonly grain: GrainDraft;
  /** Empty: the app's. */
  readonly zone: string;
  readonly compare: "none" | "previous" | "year";
  readonly top: number;
  readonly view: View;
}

export const COUNT: MeasureDraft = { sort: "count", field: "", formula: "", name: "" };

export const FIRST: Draft = {
  measures: [COUNT],
  by: [],
  filters: [],
  range: "7d",
  grain: "auto",
  zone: "",
  compare: "none",
  top: 8,
  view: "line",
};

/** As it stands in the address: only what differs from the first. */
export function toText(draft: Draft): string {
  const changed = Object.entries(draft).filter(
    ([name, value]) => JSON.stringify(value) !== JSON.stringify(FIRST[name as keyof Draft]),
  );
  return changed.length === 0 ? "" : JSON.stringify(Object.fromEntries(changed));
}

/** Out of the address, where anything may stand: what can't be read is as at first. */
export function fromText(text: string | null): Draft {
  try {
    const read: unknown = JSON.parse(text ?? "{}");
    if (typeof read !== "object" || read === null || Array.isArray(read)) return FIRST;
    const draft = { ...FIRST, ...(read as Partial<Draft>) };
    const isWhole =
      Array.isArray(draft.measures) &&
      draft.measures.length > 0 &&
      draft.measures.every((measure) => typeof measure?.sort === "string") &&
      Array.isArray(draft.by) &&
      draft.by.every((field) => typeof field === "string") &&
      Array.isArray(draft.filters) &&
      draft.filters.every((filter) => typeof filter?.field === "string" && Array.isArray(filter.values)) &&
      typeof draft.range === "string" &&
      typeof draft.zone === "string" &&
      typeof draft.top === "number";
    return isWhole ? draft : FIRST;
  } catch {
    return FIRST;
  }
}
