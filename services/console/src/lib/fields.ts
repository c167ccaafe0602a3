import { ColumnType } from "../gen/penstock/v1/common_pb";
import type { DescribeResponse } from "../gen/penstock/v1/query_pb";

export type Kind = "number" | "string" | "bool" | "time";

export interface Field {
  /** As it is written in formulas and SQL. */
  readonly text: string;
  /** As events have it, and as filters of keys and tokens take it. */
  readonly name: string;
  readonly kind: Kind;
  readonly isProperty: boolean;
}

/** What every event has. */
const FIELDS: readonly Field[] = (
  [
    ["event_type", "string"],
    ["user_id", "string"],
    ["country", "string"],
    ["user_plan", "string"],
    ["timestamp", "time"],
    ["received_at", "time"],
    ["event_id", "string"],
  ] as const
).map(([text, kind]) => ({ text, name: text, kind, isProperty: false }));

const KINDS: Partial<Record<ColumnType, Kind>> = {
  [ColumnType.NUMBER]: "number",
  [ColumnType.STRING]: "string",
  [ColumnType.BOOL]: "bool",
  [ColumnType.TIME]: "time",
};

/** A name as formulas and SQL take it. */
export function quoted(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

/** The fields that events of the app have. */
export function fieldsOf({ properties }: Pick<DescribeResponse, "properties">): readonly Field[] {
  const times = new Map<string, number>();
  for (const { name } of properties) times.set(name, (times.get(name) ?? 0) + 1);
  const ours = properties.flatMap(({ name, type }) => {
    const kind = KINDS[type];
    if (kind === undefined) return [];
    // A name with several types needs to say which.
    const text = (times.get(name) ?? 0) > 1 ? `${quoted(name)}::${kind}` : quoted(name);
    return [{ text, name, kind, isProperty: true }];
  });
  return [...FIELDS, ...ours];
}
