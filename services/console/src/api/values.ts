import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Column, ColumnType, type Result, Route, type Value } from "../gen/penstock/v1/common_pb";

/** A value of an answer as JavaScript has it. Integers beyond 2^53 stay exact. */
export type Cell = null | number | bigint | string | boolean | Date;

export interface Table {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Cell[])[];
}

export function cell(value: Value): Cell {
  const { kind } = value;
  switch (kind.case) {
    case "number":
    case "string":
    case "bool":
      return kind.value;
    case "integer":
      return kind.value >= Number.MIN_SAFE_INTEGER && kind.value <= Number.MAX_SAFE_INTEGER
        ? Number(kind.value)
        : kind.value;
    case "time":
      return timestampDate(kind.value);
    default:
      return null;
  }
}

export function tableOf(result: Result | undefined): Table {
  return {
    columns: result?.columns ?? [],
    rows: (result?.rows ?? []).map((row) => row.values.map(cell)),
  };
}

export function numberOf(value: Cell | undefined): number | null {
  return typeof value === "number" ? value : typeof value === "bigint" ? Number(value) : null;
}

export function isNumeric(column: Column): boolean {
  return column.type === ColumnType.NUMBER || column.type === ColumnType.INTEGER;
}

/** A value on the wire. */
export function toValue(value: string | number | boolean | Date): Pick<Value, "kind"> {
  switch (typeof value) {
    case "number":
      return { kind: { case: "number", value } };
    case "boolean":
      return { kind: { case: "bool", value } };
    case "string":
      return { kind: { case: "string", value } };
    default:
      return { kind: { case: "time", value: timestampFromMs(value.getTime()) } };
  }
}

export const ROUTES: Record<Route, string> = {
  [Route.UNSPECIFIED]: "unknown",
  [Route.RAW]: "events",
  [Route.ROLLUP]: "daily rollup",
  [Route.CACHE]: "cache",
  [Route.STATES]: "kept states",
};
