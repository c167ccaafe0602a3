/** What is queued: records, each one byte that says what it is, and then a message of the contracts. */

/** What a record is: its first byte. */
export const EVENT = 0;
export const IDENTIFY = 1;

/** What a record takes in memory beside its bytes, about. */
export const OVERHEAD = 96;

/** A queue of records, first in first out. */
export interface Store {
  /** How many there are. */
  readonly records: number;
  /** What they take, in bytes. */
  readonly size: number;
  /** Puts a record at the end. Throws if it can't be written: then it isn't queued. */
  append(record: Uint8Array): void;
  /** The first records, at least one if there are any. */
  first(most: number, mostBytes: number): Uint8Array[];
  /** Forgets the first records: they are acknowledged. */
  drop(count: number): void;
  /** Lets go of what the system gave. Gives the records that are nowhere else. */
  close(): Uint8Array[] | Promise<Uint8Array[]>;
  /**
   * Of a store that can't be had at once; settled when it can. Until then nothing is dropped from it. `onFound` is told of so many records that
   * others left: in front of all by then, behind all later.
   */
  open?(onFound: (records: number) => void): Promise<void>;
  /** Of a store that takes records before it has written them; settled when all so far are, or can't be. */
  written?(): Promise<void>;
}

/** Records in memory. */
export class Memory implements Store {
  size = 0;
  #queue: Uint8Array[] = [];
  /** Where the first record is: what was dropped before it is cut off now and then. */
  #head = 0;

  get records(): number {
    return this.#queue.length - this.#head;
  }

  append(record: Uint8Array): void {
    this.#queue.push(record);
    this.size += record.length + OVERHEAD;
  }

  first(most: number, mostBytes: number): Uint8Array[] {
    const records = this.#queue.slice(this.#head, this.#head + most);
    return records.slice(0, fit(records.map((record) => record.length), mostBytes));
  }

  drop(count: number): void {
    for (const record of this.#queue.slice(this.#head, this.#head + count)) this.size -= record.length + OVERHEAD;
    this.#head += count;
    if (this.#head * 2 >= this.#queue.length) {
      this.#queue.splice(0, this.#head);
      this.#head = 0;
    }
  }

  close(): Uint8Array[] {
    const left = this.#queue.slice(this.#head);
    this.drop(left.length);
    return left;
  }
}

/** How many of the sizes fit into so many bytes: at least one, if there is one. */
export function fit(sizes: readonly number[], mostBytes: number): number {
  let total = 0;
  const beyond = sizes.findIndex((size, i) => (total += size) > mostBytes && i > 0);
  return beyond < 0 ? sizes.length : beyond;
}

/** The first records that are of one kind: what one request can have. An identity is a request of its own. */
export function oneKind(records: readonly Uint8Array[]): Uint8Array[] {
  const kind = records[0]?.[0];
  if (kind === IDENTIFY) return records.slice(0, 1);
  const other = records.findIndex((record) => record[0] !== kind);
  return other < 0 ? records.slice() : records.slice(0, other);
}

/** What a field of so many bytes takes in a message of the contracts: its number, its length, and itself. */
export function fieldBytes(bytes: number): number {
  const lengthBits = 32 - Math.clz32(bytes);
  return 1 + Math.max(1, Math.ceil(lengthBits / 7)) + bytes;
}

/** What a record takes in a request. */
export function recordBytes(record: Uint8Array): number {
  return fieldBytes(record.length - 1);
}
