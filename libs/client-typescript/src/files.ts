/**
 * Records in the files of a directory, which one client has at a time: they outlive the process. For Node.js.
 *
 * In files a record is a header, the record's length and its CRC-32, both four bytes, little endian, and then the record. Files are named by
 * number; `sent` says up to where in which file all was acknowledged. What a crash cut off at the end of the last file is cut off at the
 * next start. The clients in other languages keep the same form.
 */
import fs from "node:fs";
import path from "node:path";
import { crc32 } from "node:zlib";

import { type Store, fit } from "./queue.js";

const HEADER = 8;
const SENT = 20;
const FILE_BYTES = 4 << 20;

/** Directories that clients of this process have. */
const taken = new Set<string>();

export class Files implements Store {
  records = 0;
  size = 0;
  readonly #dir: string;
  readonly #sent: number;
  /** Of each record, with its header. */
  #sizes: number[] = [];
  /** The files, and how many of their records are still there. */
  #files: { number: number; there: number }[] = [];
  /** Where the first record lies in the first file. */
  #at = 0;
  #tail = -1;
  #tailBytes = 0;
  #reading: { number: number; fd: number } | undefined;

  constructor(directory: string) {
    fs.mkdirSync(directory, { recursive: true });
    this.#dir = fs.realpathSync(directory);
    lock(this.#dir);
    this.#sent = fs.openSync(path.join(this.#dir, "sent"), fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
    const sent = this.#readSent();
    const names = fs.readdirSync(this.#dir).filter((name) => /^\d+\.queue$/.test(name));
    const numbers = names.map((name) => Number.parseInt(name, 10)).sort((a, b) => a - b);
    for (const number of numbers) {
      if (number < sent.number) {
        fs.unlinkSync(this.#path(number));
        continue;
      }
      const start = number === sent.number ? sent.at : 0;
      const sizes = this.#scan(number, start);
      if (this.#files.length === 0) this.#at = start;
      this.#files.push({ number, there: sizes.length });
      this.#sizes.push(...sizes);
      this.records += sizes.length;
      this.size += sizes.reduce((sum, size) => sum + size, 0);
    }
    // Always a new file: the end of an old one is never written again.
    this.#open(Math.max(sent.number, ...numbers) + 1);
    this.#tidy();
  }

  append(record: Uint8Array): void {
    if (this.#tailBytes >= FILE_BYTES) {
      fs.closeSync(this.#tail);
      this.#open(this.#files.at(-1)!.number + 1);
    }
    const written = Buffer.alloc(HEADER + record.length);
    written.writeUInt32LE(record.length, 0);
    written.writeUInt32LE(crc32(record), 4);
    written.set(record, HEADER);
    try {
      const wrote = fs.writeSync(this.#tail, written, 0, written.length, this.#tailBytes);
      if (wrote !== written.length) throw new Error("the disk is full");
    } catch (error) {
      // Half a record would hide what follows.
      fs.ftruncateSync(this.#tail, this.#tailBytes);
      throw error;
    }
    this.#tailBytes += written.length;
    this.#files.at(-1)!.there += 1;
    this.#sizes.push(written.length);
    this.records += 1;
    this.size += written.length;
  }

  first(most: number, mostBytes: number): Uint8Array[] {
    const { number, there } = this.#files[0]!;
    const within = this.#sizes.slice(0, Math.min(most, there));
    const sizes = within.slice(0, fit(within, mostBytes));
    const data = Buffer.alloc(sizes.reduce((sum, size) => sum + size, 0));
    fs.readSync(this.#reader(number), data, 0, data.length, this.#at);
    let at = 0;
    return sizes.map((size) => data.subarray(at + HEADER, (at += size)));
  }

  drop(count: number): void {
    const first = this.#files[0]!;
    const gone = this.#sizes.splice(0, count).reduce((sum, size) => sum + size, 0);
    this.#at += gone;
    first.there -= count;
    this.records -= count;
    this.size -= gone;
    const place = Buffer.alloc(SENT);
    place.writeBigUInt64LE(BigInt(first.number), 0);
    place.writeBigUInt64LE(BigInt(this.#at), 8);
    place.writeUInt32LE(crc32(place.subarray(0, 16)), 16);
    // In one write: read again, it is right or, torn, as if it weren't there.
    fs.writeSync(this.#sent, place, 0, SENT, 0);
    this.#tidy();
  }

  close(): Uint8Array[] {
    fs.closeSync(this.#tail);
    if (this.#reading) fs.closeSync(this.#reading.fd);
    fs.closeSync(this.#sent);
    fs.rmSync(path.join(this.#dir, "lock"), { force: true });
    taken.delete(this.#dir);
    return [];
  }

  #path(number: number): string {
    return path.join(this.#dir, `${String(number).padStart(8, "0")}.queue`);
  }

  #open(number: number): void {
    this.#tail = fs.openSync(this.#path(number), "wx");
    this.#tailBytes = 0;
    this.#files.push({ number, there: 0 });
  }

  #reader(number: number): number {
    if (this.#reading?.number !== number) {
      if (this.#reading) fs.closeSync(this.#reading.fd);
      this.#reading = { number, fd: fs.openSync(this.#path(number), "r") };
    }
    return this.#reading.fd;
  }

  /** Deletes the files before the last of which nothing is left. */
  #tidy(): void {
    while (this.#files.length > 1 && this.#files[0]!.there === 0) {
      fs.unlinkSync(this.#path(this.#files.shift()!.number));
      this.#at = 0;
    }
  }

  #readSent(): { number: number; at: number } {
    const data = Buffer.alloc(SENT);
    const read = fs.readSync(this.#sent, data, 0, SENT, 0);
    if (read === SENT && crc32(data.subarray(0, 16)) === data.readUInt32LE(16)) {
      return { number: Number(data.readBigUInt64LE(0)), at: Number(data.readBigUInt64LE(8)) };
    }
    fs.writeSync(this.#sent, Buffer.alloc(SENT), 0, SENT, 0); // a full disk shows now
    return { number: 0, at: 0 };
  }

  /** The sizes of a file's whole records; cuts off what follows them. */
  #scan(number: number, start: number): number[] {
    const data = fs.readFileSync(this.#path(number));
    const sizes = [];
    let at = start;
    while (at + HEADER <= data.length) {
      const length = data.readUInt32LE(at);
      const record = data.subarray(at + HEADER, at + HEADER + length);
      if (length === 0 || record.length !== length || crc32(record) !== data.readUInt32LE(at + 4)) break;
      sizes.push(HEADER + length);
      at += HEADER + length;
    }
    if (at < data.length) fs.truncateSync(this.#path(number), at);
    return sizes;
  }
}

/** Takes the directory for this process, or from one that is no more. */
function lock(directory: string): void {
  const file = path.join(directory, "lock");
  const owner = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
  const [pid, started] = owner.split(" ");
  const mine = Number(pid) === process.pid; // of a process before this one that had the same number, or taken below
  if (taken.has(directory) || (pid && !mine && startOf(pid) === started && started !== undefined)) {
    throw new Error(`another client has ${directory}: each needs a directory of its own`);
  }
  fs.writeFileSync(file, `${process.pid} ${startOf(String(process.pid))}`);
  taken.add(directory);
}

/** When a process that still runs started, as its system says it; where that isn't known, whether it is there. */
function startOf(pid: string): string | undefined {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    const [, state, ...rest] = stat.slice(stat.lastIndexOf(")")).split(" ");
    return state === "Z" || state === "X" ? undefined : rest[18]; // dead, though its parent hasn't heard of it
  } catch {
    try {
      process.kill(Number(pid), 0);
      return "there";
    } catch {
      return undefined;
    }
  }
}
