/**
 * Records in a database of the browser (IndexedDB), which all pages of an origin may have at a time: they outlive the page.
 *
 * A record's key is who wrote it, and a number. Who lives holds a lock of its name, so its records are its own to send. Once the lock is free
 * whoever gets it next has what is left of them: a page that opens the database, or one that has it open. In a browser without locks a page
 * that opens the database has what all have left so far: what two send counts once.
 */
import { type PenstockError, Unavailable } from "./errors.js";
import { OVERHEAD, type Store, fit } from "./queue.js";
import { eventId } from "./values.js";

const RECORDS = "records";
/** Browsers are known that now and then never say whether a database is open. */
const OPEN_MS = 10_000;

interface Item {
  readonly key: [writer: string, n: number];
  readonly record: Uint8Array;
  /** Whether the database has it, too. */
  written: boolean;
}

export class Database implements Store {
  size = 0;
  readonly #name: string;
  readonly #onFailed: (error: PenstockError) => void;
  /** By time, so that what was written first is sent first. */
  readonly #self = eventId();
  #count = 0;
  #items: Item[] = [];
  #unwritten: Item[] = [];
  #db: IDBDatabase | undefined;
  #opening: Promise<void> = Promise.resolve();
  #writing: Promise<void> = Promise.resolve();
  #onFound: (records: number) => void = () => {};
  /** Whose records are this page's, or will be. */
  readonly #known = new Set([this.#self]);
  #failing = false;
  readonly #end = new AbortController();
  readonly #ended = new Promise<void>((resolve) => this.#end.signal.addEventListener("abort", () => resolve()));

  /** `onFailed` is told why records are in memory alone, whenever that begins. */
  constructor(directory: string, onFailed: (error: PenstockError) => void) {
    this.#name = `penstock/${directory}`;
    this.#onFailed = onFailed;
  }

  get records(): number {
    return this.#items.length;
  }

  open(onFound: (records: number) => void): Promise<void> {
    this.#onFound = onFound;
    const timer = setTimeout(() => this.#end.abort(new Error(`it wasn't open after ${OPEN_MS} ms`)), OPEN_MS);
    const over = this.#ended.then(() => this.#end.signal.throwIfAborted());
    this.#opening = Promise.race([this.#open(), over])
      .catch((error: unknown) => this.#lose(error))
      .finally(() => clearTimeout(timer));
    return this.#opening;
  }

  append(record: Uint8Array): void {
    const item: Item = { key: [this.#self, this.#count++], record, written: false };
    this.#items.push(item);
    this.size += bytes([item]);
    // What comes at one go is written at one go.
    if (this.#unwritten.push(item) === 1) this.#writing = this.#opening.then(() => this.#write());
  }

  written(): Promise<void> {
    return this.#writing;
  }

  first(most: number, mostBytes: number): Uint8Array[] {
    const records = this.#items.slice(0, most).map(({ record }) => record);
    return records.slice(0, fit(records.map((record) => record.length), mostBytes));
  }

  drop(count: number): void {
    const gone = this.#items.splice(0, count);
    this.size -= bytes(gone);
    // What is still there after all is sent once more, and counts once.
    const forgotten = this.#change((records) => {
      for (const { key } of gone) records.delete(key);
    });
    forgotten.catch(() => undefined);
  }

  async close(): Promise<Uint8Array[]> {
    this.#failing = true; // what isn't written is handed back: there is no more to tell
    if (!this.#db) this.#end.abort();
    await this.#writing;
    this.#end.abort();
    this.#db?.close();
    const lost = this.#items.filter(({ written }) => !written);
    this.#items = this.#items.filter(({ written }) => written);
    return lost.map(({ record }) => record);
  }

  async #open(): Promise<void> {
    const request = indexedDB.open(this.#name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(RECORDS);
    const db = await result(request);
    if (this.#end.signal.aborted) return db.close();
    this.#db = db;
    db.onclose = () => this.#lose(new Error("the browser closed it"));
    db.onversionchange = () => this.#lose(new Error("it is being deleted, or made anew by a newer page"));
    const left = (await this.#lives()) ? await this.#inherit() : await this.#read();
    // In front of what this page has tracked meanwhile.
    this.#have([...left, ...this.#items], left);
  }

  /** Holds a lock of this page's name until its end. False in a browser without locks. */
  async #lives(): Promise<boolean> {
    try {
      return await this.#hold(this.#self);
    } catch {
      return false;
    }
  }

  /** What those left who are no more. What the others leave comes when they end. */
  async #inherit(): Promise<Item[]> {
    // Who comes from here on says so, and who came before has a lock.
    const channel = new BroadcastChannel(this.#name);
    channel.onmessage = ({ data }) => this.#awaitEnd(String(data));
    channel.postMessage(this.#self);
    void this.#ended.then(() => channel.close());
    const { held = [] } = await navigator.locks.query();
    for (const { name = "" } of held) if (name.startsWith(this.#lock(""))) this.#awaitEnd(name.slice(this.#lock("").length));

    let left: Item[] = [];
    for (const writer of await this.#writers()) {
      if (this.#known.has(writer)) continue;
      if (!(await this.#hold(writer))) this.#awaitEnd(writer);
      else {
        this.#known.add(writer);
        left = left.concat(await this.#read(writer));
      }
    }
    return left;
  }

  /** Has what others left among its own. */
  #have(items: Item[], left: Item[]): void {
    this.#items = items;
    this.size += bytes(left);
    if (left.length > 0) this.#onFound(left.length);
  }

  /** Waits for another's end, to have what it left. */
  #awaitEnd(writer: string): void {
    if (this.#known.has(writer)) return;
    this.#known.add(writer);
    const { signal } = this.#end;
    const had = navigator.locks.request(this.#lock(writer), { signal }, async () => {
      const left = await this.#read(writer);
      this.#have([...this.#items, ...left], left);
      if (left.length > 0) await this.#ended;
    });
    had.catch(() => undefined); // the end of this page came first
  }

  /** Holds another's lock, or this page's own, until the end of this page. False if somebody has it. */
  #hold(writer: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const held = navigator.locks.request(this.#lock(writer), { ifAvailable: true }, (lock) => {
        resolve(lock !== null);
        return lock ? this.#ended : undefined;
      });
      held.catch(reject);
    });
  }

  /** Who wrote what the database has. */
  async #writers(): Promise<Set<string>> {
    const keys = (await result(this.#records("readonly").getAllKeys())) as Item["key"][];
    return new Set(keys.map(([writer]) => writer));
  }

  /** What the database has of a writer, or of all. */
  async #read(writer?: string): Promise<Item[]> {
    const records = this.#records("readonly");
    const range = writer === undefined ? undefined : IDBKeyRange.bound([writer], [writer, []]);
    const [keys, values] = await Promise.all([result(records.getAllKeys(range)), result(records.getAll(range))]);
    return values.map((record: Uint8Array, i) => ({ key: keys[i] as Item["key"], record, written: true }));
  }

  async #write(): Promise<void> {
    const items = this.#unwritten.splice(0);
    if (!this.#db) return;
    try {
      await this.#change((records) => {
        for (const { key, record } of items) records.put(record, key);
      });
      for (const item of items) item.written = true;
      this.#failing = false;
    } catch (error) {
      this.#tell(error);
    }
  }

  /** One after another, and on its way at once: a page that ends now doesn't stop it. */
  #change(change: (records: IDBObjectStore) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const records = this.#records("readwrite");
      change(records);
      records.transaction.oncomplete = () => resolve();
      records.transaction.onabort = () => reject(records.transaction.error);
      records.transaction.commit();
    });
  }

  #records(mode: IDBTransactionMode): IDBObjectStore {
    if (!this.#db) throw new Error("it isn't open");
    return this.#db.transaction(RECORDS, mode, { durability: "relaxed" }).objectStore(RECORDS);
  }

  #lock(writer: string): string {
    return `${this.#name}/${writer}`;
  }

  /** Goes on without the database. */
  #lose(cause: unknown): void {
    this.#db?.close();
    this.#db = undefined;
    for (const item of this.#items) item.written = false;
    this.#tell(cause);
  }

  #tell(cause: unknown): void {
    if (this.#failing) return;
    this.#failing = true;
    const message = `what is queued is in memory alone, since its database, ${this.#name}, failed: ${cause}`;
    try {
      this.#onFailed(new Unavailable("UNAVAILABLE", message, { cause }));
    } catch (error) {
      console.error("penstock: onDiskFailed failed", error);
    }
  }
}

/** What items take, in bytes. */
function bytes(items: readonly Item[]): number {
  return items.reduce((sum, { record }) => sum + record.length + OVERHEAD, 0);
}

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
