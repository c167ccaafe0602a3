/** JavaScript's values and those of the contracts. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";

import type { Value, ValueSchema } from "./gen/penstock/v1/common_pb.js";

/** What a property, a trait or a filter can say. */
export type Scalar = boolean | number | bigint | string | Date;

/** What an answer says: whole numbers are `number`, and `bigint` where that isn't exact. */
export type Answer = Scalar | null;

/** Values by name. Those that are null or undefined are left out. */
export type Properties = Readonly<Record<string, Scalar | null | undefined>>;

type WireValue = MessageInitShape<typeof ValueSchema>;

/** A value on the wire. Throws a TypeError or a RangeError, which say `where` and what would be right. */
export function toValue(value: unknown, where: string): WireValue {
  switch (typeof value) {
    case "string":
      return { kind: { case: "string", value } };
    case "boolean":
      return { kind: { case: "bool", value } };
    case "bigint":
      if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) {
        throw new RangeError(`${where} is beyond 2**53, where numbers are no longer exact: send large ids as text`);
      }
      return { kind: { case: "integer", value } };
    case "number":
      if (!Number.isFinite(value)) throw new RangeError(`${where} is ${value}: numbers must be finite`);
      return { kind: { case: "number", value } };
  }
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw new RangeError(`${where} is an invalid Date`);
    return { kind: { case: "time", value: timestampFromDate(value) } };
  }
  const kind = value === null ? "null" : typeof value;
  throw new TypeError(`${where} is ${kind}: values are boolean, number, bigint, string or Date`);
}

/** Values as a message's map. */
export function toValues(values: Properties | undefined, what: string): Record<string, WireValue> {
  const there = Object.entries(values ?? {}).filter(([, value]) => value !== null && value !== undefined);
  return Object.fromEntries(there.map(([name, value]) => [name, toValue(value, `${what}.${name}`)]));
}

/** A value off the wire. */
export function fromValue({ kind }: Value): Answer {
  switch (kind.case) {
    case "integer": {
      const number = Number(kind.value);
      return Number.isSafeInteger(number) ? number : kind.value;
    }
    case "time":
      return timestampDate(kind.value);
    case "null":
    case undefined:
      return null;
    default:
      return kind.value;
  }
}

let lastMs = 0;
let count = 0;

/** A UUIDv7: by time, and among those of one process strictly ascending. */
export function eventId(): string {
  const random = crypto.getRandomValues(new Uint8Array(10));
  const now = Date.now();
  // Within a millisecond, or when the clock goes back, the 12 bits behind the time count on; then the time does.
  if (now > lastMs) {
    lastMs = now;
    count = (random[8]! << 3) | (random[9]! >> 5);
  } else if (count < 0xfff) {
    count += 1;
  } else {
    lastMs += 1;
    count = 0;
  }
  const hex = (number: number, digits: number) => number.toString(16).padStart(digits, "0");
  const time = hex(lastMs, 12);
  const tail = Array.from(random.subarray(0, 8), (byte, i) => hex(i === 0 ? (byte & 0x3f) | 0x80 : byte, 2)).join("");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(count, 3)}-${tail.slice(0, 4)}-${tail.slice(4)}`;
}
