import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { type Filter, FilterOp, type Value } from "../../gen/penstock/v1/common_pb";
import type { Metric, MetricDefinitionSchema } from "../../gen/penstock/v1/metrics_pb";
import type { Field } from "../../lib/fields";
import type { FilterDraft, Op } from "../explore/draft";
import { filterOf, isFilterWhole, OPS } from "../explore/wire";

export interface MetricDraft {
  /** 0: it isn't defined yet. */
  readonly version: number;
  readonly name: string;
  readonly displayName: string;
  readonly description: string;
  readonly formula: string;
  readonly unit: string;
  readonly materialize: boolean;
  readonly filters: readonly FilterDraft[];
}

export const NEW: MetricDraft = {
  version: 0,
  name: "",
  displayName: "",
  description: "",
  formula: "",
  unit: "",
  materialize: false,
  filters: [],
};

export function draftOf({ definition, version }: Metric): MetricDraft {
  if (definition === undefined) return NEW;
  const { name, displayName, description, formula, unit, materialize, filters } = definition;
  return { version, name, displayName, description, formula, unit, materialize, filters: filters.map(filterDraft) };
}

export function definitionOf(
  draft: MetricDraft,
  fields: readonly Field[],
  zone: string,
): MessageInitShape<typeof MetricDefinitionSchema> {
  const { version: _, filters, ...rest } = draft;
  return { ...rest, filters: filters.filter(isFilterWhole).map((filter) => filterOf(filter, fields, zone)) };
}

/** A name for it, out of what people call it. */
export function nameFrom(displayName: string): string {
  const plain = displayName
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "_")
    .replaceAll(/^_+|_+$/g, "");
  return /^[a-z]/.test(plain) ? plain.slice(0, 64) : plain === "" ? "" : `m_${plain}`.slice(0, 64);
}

function filterDraft({ field, op, values }: Filter): FilterDraft {
  const name = (Object.keys(OPS) as Op[]).find((one) => OPS[one].op === op && op !== FilterOp.UNSPECIFIED) ?? "eq";
  return { field, op: name, values: values.map(text) };
}

function text({ kind }: Value): string {
  if (kind.case === "time") return timestampDate(kind.value).toISOString().slice(0, 19).replace("T", " ");
  return kind.value === undefined || kind.case === "null" ? "" : String(kind.value);
}
