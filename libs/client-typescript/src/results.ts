/** Answers: rows and columns. */
import { timestampDate } from "@bufbuild/protobuf/wkt";

import { ColumnType as WireType, Route, type Column as WireColumn, type Result as WireResult, type ResultInfo, type Row as WireRow } from "./gen/penstock/v1/common_pb.js";
import type { SubscribeResponse } from "./gen/penstock/v1/query_pb.js";
import { type Answer, fromValue } from "./values.js";

/** A row by the columns' names. */
export type Row = Record<string, Answer>;

/** The type of a column's values, any of which may be null. */
export type ColumnType = "number" | "integer" | "string" | "bool" | "time";

/** A column of an answer. */
export interface Column {
  /** Its name: the alias, or the text of the expression. */
  readonly name: string;
  /** The type of its values. */
  readonly type: ColumnType;
  /** The unit of its values, as in "USD"; empty if none is known. */
  readonly unit: string;
  /** Empty when the values are exact; else the sketch that they come from. */
  readonly sketch: string;
}

/** What is known of an answer beside its rows. */
export interface Info {
  /** Every event acknowledged before this instant is in the answer. */
  readonly completeUntil: Date | undefined;
  /** The position reached, as `after` of another question. */
  readonly token: string;
  /** Where it came from: raw, rollup, cache or states. */
  readonly route: string;
  /** From the request's arrival to the last row, in microseconds. */
  readonly elapsedUs: number;
  /** How many rows were read from tables. */
  readonly readRows: number;
  /** The same in bytes, uncompressed. */
  readonly readBytes: number;
  /** How much of the time it waited for its turn, in microseconds. */
  readonly queuedUs: number;
  /** Whether rows were left out because the row cap was reached. */
  readonly truncated: boolean;
  /** Whether it is an earlier answer, since the warehouse can't be reached and `maxStalenessMs` allows it. */
  readonly stale: boolean;
}

/** An answer. `T` is what the caller knows of its rows; nobody checks it. */
export interface Result<T = Row> {
  /** Its columns, in the order in which they were asked for. */
  readonly columns: readonly Column[];
  /** Its rows. */
  readonly rows: readonly T[];
  /** As of when it is, where it came from and what it cost. */
  readonly info: Info;
}

/** A push of a subscription: the whole answer as it is now, and what is different from before. */
export interface Update<T = Row> extends Result<T> {
  /** Rows that are new or in the place of another; all of them in the first push. */
  readonly changed: readonly T[];
  /** The keys of rows that are gone: the values of `keys`. */
  readonly removed: readonly Row[];
  /** The columns whose values tell rows apart: the groups. Empty: all together do. */
  readonly keys: readonly string[];
}

/** The state of a subscription, push by push. */
export class LiveAnswer<T> {
  #columns: readonly Column[] = [];
  #info: Info = infoFromWire(undefined);
  #keys: readonly number[] = [];
  // By key, or, where all columns together tell rows apart, equal rows counted.
  #rows = new Map<string, T[]>();

  /** Takes a push. Undefined for a heartbeat. */
  push({ push }: SubscribeResponse): Update<T> | undefined {
    let changed: T[];
    let removed: Row[] = [];
    if (push.case === "state") {
      const { result, keyColumns } = push.value;
      this.#columns = columnsFromWire(result?.columns ?? []);
      this.#info = infoFromWire(result?.info);
      this.#keys = keyColumns;
      this.#rows = new Map();
      changed = this.#put(result?.rows ?? []);
    } else if (push.case === "change") {
      this.#info = infoFromWire(push.value.info);
      const keys = this.#keys.length > 0 ? this.#keys.map((key) => this.#columns[key]!) : this.#columns;
      removed = push.value.removed.map((row) => rowFromWire<Row>(keys, row));
      for (const row of push.value.removed) {
        const key = JSON.stringify(row.values.map(plain));
        const rows = this.#rows.get(key);
        rows?.pop();
        if (rows?.length === 0) this.#rows.delete(key);
      }
      changed = this.#put(push.value.upserted);
    } else {
      return undefined;
    }
    const rows = [...this.#rows.values()].flat();
    const keys = this.#keys.map((key) => this.#columns[key]!.name);
    return { columns: this.#columns, rows, info: this.#info, changed, removed, keys };
  }

  #put(rows: readonly WireRow[]): T[] {
    return rows.map((wire) => {
      const row = rowFromWire<T>(this.#columns, wire);
      const key = JSON.stringify((this.#keys.length > 0 ? this.#keys.map((key) => wire.values[key]!) : wire.values).map(plain));
      const same = this.#keys.length > 0 ? [] : (this.#rows.get(key) ?? []);
      this.#rows.set(key, [...same, row]);
      return row;
    });
  }
}

function plain(value: Parameters<typeof fromValue>[0]): unknown {
  const answer = fromValue(value);
  return typeof answer === "bigint" ? answer.toString() : answer;
}

/** A row by its columns' names. */
export function rowFromWire<T>(columns: readonly Column[], row: WireRow): T {
  return Object.fromEntries(columns.map(({ name }, i) => [name, fromValue(row.values[i]!)])) as T;
}

/** An answer's columns. */
export function columnsFromWire(columns: readonly WireColumn[]): Column[] {
  return columns.map(({ name, type, unit, sketch }) => {
    return { name, type: (WireType[type] ?? "").toLowerCase() as ColumnType, unit, sketch };
  });
}

/** What is known of an answer. */
export function infoFromWire(info: ResultInfo | undefined): Info {
  const { completeUntil, positionToken } = info?.watermark ?? { completeUntil: undefined, positionToken: "" };
  return {
    completeUntil: completeUntil && timestampDate(completeUntil),
    token: positionToken,
    route: (Route[info?.route ?? 0] ?? "").toLowerCase(),
    elapsedUs: Number(info?.cost?.elapsedUs ?? 0),
    readRows: Number(info?.cost?.readRows ?? 0),
    readBytes: Number(info?.cost?.readBytes ?? 0),
    queuedUs: Number(info?.cost?.queuedUs ?? 0),
    truncated: info?.truncated ?? false,
    stale: info?.stale ?? false,
  };
}

/** A whole answer. */
export function resultFromWire<T>(result: WireResult | undefined): Result<T> {
  const columns = columnsFromWire(result?.columns ?? []);
  const rows = (result?.rows ?? []).map((row) => rowFromWire<T>(columns, row));
  return { columns, rows, info: infoFromWire(result?.info) };
}
