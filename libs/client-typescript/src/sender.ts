/**
 * The sender: takes records at once, sends them in batches, and says what became of each.
 *
 * One batch is under way at a time, so events arrive in the order in which they were tracked. Every event has its id from the start: what is
 * sent again counts once.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";

import { Closed, DeadlineExceeded, InvalidArgument, PenstockError, fromRpc } from "./errors.js";
import type { Value } from "./gen/penstock/v1/common_pb.js";
import { type Acknowledgement, EventSchema, type Event as WireEvent, IdentifyRequestSchema, type IdentifyRequest } from "./gen/penstock/v1/ingest_pb.js";
import type { Flushed } from "./questions.js";
import { EVENT, IDENTIFY, OVERHEAD, type Store, fieldBytes, fit, oneKind, recordBytes } from "./queue.js";
import { type Answer, type Properties, eventId, fromValue, toValues } from "./values.js";

const RETRY_FIRST_MS = 100;
const RETRY_MOST_MS = 10_000;

/** Something that happened. */
export interface Event {
  /** What happened, as in "purchase". */
  readonly eventType: string;
  /** Who did it; nobody is known if it is left out. */
  readonly userId?: string;
  /** Values by name; those that are null or undefined are left out. */
  readonly properties?: Properties;
  /** When it happened. Default: now. */
  readonly timestamp?: Date;
  /** The id. Default: a new UUIDv7. */
  readonly eventId?: string;
  /** The app. Default: the client's. */
  readonly app?: string;
}

/** What is known of a user. */
export interface Identity {
  /** The user. */
  readonly userId: string;
  /** Values by name; one that isn't named keeps its value. `country` and `plan` become columns of the user's later events. */
  readonly traits: Properties;
  /** The app. Default: the client's. */
  readonly app?: string;
}

/** Why something that was queued was not accepted. */
export interface Rejection {
  /** The rule that it breaks, as in TOO_OLD, REQUIRED or PROPERTY_LIMIT; or NOT_SENT, if the client was closed before it could be sent. */
  readonly code: string;
  /** The path of the field at fault, as in "properties.price". */
  readonly field: string;
  /** What is wrong and what would be right. */
  readonly description: string;
  /** What was refused. */
  readonly item: Event | Identity;
}

/** When batches leave, and how much may be queued. */
export interface Limits {
  /** How many events a batch has at most: with them it leaves. Default: 500. */
  readonly batchEvents?: number;
  /** How many bytes a batch has at most. Default: 512 KiB. */
  readonly batchBytes?: number;
  /** How long an event waits for others, in milliseconds. Default: 200. */
  readonly batchMs?: number;
  /** How many bytes may be queued: with more the queue is full. Default: 32 MiB in Node.js, 4 MiB in a browser. */
  readonly queueBytes?: number;
}

/** How batches get to the server. */
export interface Wire {
  publish(events: WireEvent[], positionToken: string, signal: AbortSignal): Promise<Acknowledgement>;
  identify(request: IdentifyRequest, signal: AbortSignal): Promise<string>;
  /** What a request has beside its records and its token, in bytes. */
  readonly overhead?: number;
  /** How many bytes a request may have now: Infinity unless it is to outlive the page that sends it. */
  longest?(): number;
}

/** A promise to be settled from elsewhere. */
class Later<T> {
  resolve!: (value: T) => void;
  reject!: (error: unknown) => void;
  readonly promise = new Promise<T>((resolve, reject) => {
    this.resolve = resolve;
    this.reject = reject;
  });
}

/** A bounded queue and what empties it. */
export class Sender {
  readonly #store: Store;
  readonly #wire: Wire;
  readonly #limits: Required<Limits>;
  readonly #onRejected: (rejection: Rejection) => void;
  // Counts of records: all that came, and all whose end is known.
  #queued: number;
  #done = 0;
  #accepted = 0;
  #rejected = 0;
  #token = "";
  #due = 0;
  #flushes: { target: number; readonly later: Later<Flushed> }[] = [];
  #waiting: Later<void>[] = [];
  #failure: PenstockError | undefined;
  #closing = false;
  /** How many of the first records are on their way in a request that outlives the page. */
  #outliving = 0;
  /** Breaks off what is under way at the end. */
  readonly #end = new AbortController();
  /** The store, if it isn't open yet. */
  #opening: Promise<void> | undefined;
  #running: Promise<void> | undefined;
  #wake: (() => void) | undefined;

  constructor(store: Store, wire: Wire, limits: Required<Limits>, onRejected: (rejection: Rejection) => void) {
    this.#store = store;
    this.#wire = wire;
    this.#limits = limits;
    this.#onRejected = onRejected;
    this.#queued = store.records;
    this.#opening = store.open?.((records) => this.#find(records)).then(() => {
      this.#opening = undefined;
      this.#settle();
      this.#start();
    });
    this.#start();
  }

  /** How many records are queued or under way. */
  get pending(): number {
    return this.#store.records;
  }

  /** Covers all that was accepted. */
  get token(): string {
    return this.#token;
  }

  /** Queues a record. If there is no room: a promise of some. Throws `Closed`, or what keeps the sender from sending if it is full. */
  offer(record: Uint8Array): Promise<void> | undefined {
    if (this.#closing) throw closed();
    const store = this.#store;
    if (store.records > 0 && store.size + record.length + OVERHEAD > this.#limits.queueBytes) {
      if (this.#failure) throw this.#failure;
      const later = new Later<void>();
      this.#waiting.push(later);
      this.#wake?.();
      return later.promise;
    }
    if (store.records === 0) this.#due = Date.now() + this.#limits.batchMs;
    store.append(record);
    this.#queued += 1;
    this.#start();
    if (this.#fullBatch()) this.#wake?.();
    return undefined;
  }

  /** Settled when what was taken so far is where it outlives the page or the process, or can't be. */
  async written(): Promise<void> {
    await this.#store.written?.();
  }

  /** Settled when the end of everything queued so far is known, or with what keeps it from being sent. */
  async flush(timeoutMs?: number): Promise<Flushed> {
    if (this.#closing) throw closed();
    this.#failure = undefined;
    const later = new Later<Flushed>();
    const flush = { target: this.#queued, later };
    this.#flushes.push(flush);
    this.#settle();
    this.#start();
    this.#wake?.();
    if (timeoutMs === undefined) return later.promise;
    const timer = setTimeout(() => {
      this.#flushes = this.#flushes.filter((other) => other !== flush);
      const message = `${this.pending} are still queued after ${timeoutMs} ms`;
      later.reject(new DeadlineExceeded("DEADLINE_EXCEEDED", message));
    }, timeoutMs);
    return later.promise.finally(() => clearTimeout(timer));
  }

  /** Sends what is queued at once, and as long as its requests are to outlive the page also what comes. */
  hurry(): void {
    this.#failure = undefined;
    this.#start();
    this.#wake?.();
  }

  /**
   * Sends the first records at once, as many as fit into requests of so many bytes in all, and waits for nothing: the page that calls this ends.
   * They stay queued: where it comes back after all they are sent again, and count once. A record that fits nowhere is left out.
   */
  part(bytes: number): void {
    if (this.#closing) return;
    const queued = this.#store.first(this.#store.records, Number.POSITIVE_INFINITY).slice(this.#outliving);
    const largest = bytes - this.#overhead;
    let rest = queued.filter((record) => recordBytes(record) <= largest);
    while (rest.length > 0) {
      bytes -= this.#overhead;
      const batch = oneKind(rest);
      const beyond = batch.findIndex((record) => (bytes -= recordBytes(record)) < 0);
      const fitting = beyond < 0 ? batch : batch.slice(0, beyond);
      if (fitting.length > 0) {
        const sent: Promise<unknown> = fitting[0]![0] === IDENTIFY ? this.#identify(fitting[0]!) : this.#publish(fitting);
        sent.catch(() => undefined);
      }
      if (beyond >= 0) return;
      rest = rest.slice(batch.length);
    }
  }

  /** Ends it. What is still queued stays where it lies, or is handed out as rejected. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.#end.abort();
    this.#wake?.();
    await this.#running;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(closed());
    for (const { later } of this.#flushes.splice(0)) later.reject(closed());
    const lost = await this.#store.close();
    for (const record of lost) this.#reject(record, "NOT_SENT", "", "the client was closed before it could be sent");
  }

  #fullBatch(): boolean {
    return this.#store.records >= this.#limits.batchEvents || this.#store.size >= this.#limits.batchBytes;
  }

  /** Runs while there is anything to send: an idle client keeps no process alive. */
  #start(): void {
    if (this.#opening || this.#running || this.#store.records === 0 || this.#failure || this.#closing) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      this.#start();
    });
  }

  async #run(): Promise<void> {
    let attempt = 0;
    while (this.#store.records > 0 && !this.#failure && !this.#closing) {
      if (attempt === 0) await this.#untilDue();
      if (this.#closing) return;
      const longest = this.#longest();
      const batch = this.#next(longest);
      this.#outliving = Number.isFinite(longest) ? batch.length : 0;
      try {
        const done = await this.#send(batch);
        this.#store.drop(done);
        this.#done += done;
        this.#outliving = 0;
        attempt = 0;
        for (const waiting of this.#waiting.splice(0)) waiting.resolve();
        this.#settle();
      } catch (cause) {
        const error = fromRpc(cause);
        attempt += 1;
        this.#outliving = 0;
        if (error.retryable) await this.#pause(error, attempt);
        else this.#fail(error);
      }
    }
  }

  /** Waits until a batch is to leave. */
  async #untilDue(): Promise<void> {
    const hurried = () => Number.isFinite(this.#longest());
    const wanted = () => this.#closing || this.#flushes.length > 0 || this.#waiting.length > 0 || hurried() || this.#fullBatch();
    while (!wanted() && Date.now() < this.#due) await this.#sleep(this.#due - Date.now());
    // Whatever comes from now on has waited for less long.
    this.#due = Date.now() + this.#limits.batchMs;
  }

  /** How many bytes a request may have. */
  #longest(): number {
    return this.#wire.longest?.() ?? Number.POSITIVE_INFINITY;
  }

  /** The first records, of one kind: as many as a request may have, and at least one. */
  #next(longest: number): Uint8Array[] {
    const batch = oneKind(this.#store.first(this.#limits.batchEvents, this.#limits.batchBytes));
    return batch.slice(0, fit(batch.map(recordBytes), longest - this.#overhead));
  }

  /** What a request has beside its records, in bytes. */
  get #overhead(): number {
    return (this.#wire.overhead ?? 0) + fieldBytes(this.#token.length);
  }

  /** Sends some of a batch; returns how many records have their end. Throws if none has. */
  async #send(batch: Uint8Array[]): Promise<number> {
    if (batch[0]![0] === IDENTIFY) return this.#sendIdentity(batch[0]!);
    let acknowledgement;
    try {
      acknowledgement = await this.#publish(batch);
    } catch (cause) {
      const error = fromRpc(cause);
      if (error instanceof InvalidArgument) return this.#refused(batch, error);
      throw error;
    }
    for (const { index, code, field, message } of acknowledgement.rejections) {
      this.#reject(batch[index]!, code, field.slice(field.indexOf(".") + 1), message);
    }
    this.#accepted += acknowledgement.accepted;
    this.#token = acknowledgement.positionToken || this.#token;
    return batch.length;
  }

  #publish(batch: Uint8Array[]): Promise<Acknowledgement> {
    const events = batch.map((record) => fromBinary(EventSchema, record.subarray(1)));
    return this.#wire.publish(events, this.#token, this.#end.signal);
  }

  #identify(record: Uint8Array): Promise<string> {
    const request = fromBinary(IdentifyRequestSchema, record.subarray(1));
    request.positionToken = this.#token;
    return this.#wire.identify(request, this.#end.signal);
  }

  async #sendIdentity(record: Uint8Array): Promise<number> {
    try {
      this.#token = (await this.#identify(record)) || this.#token;
      return 1;
    } catch (cause) {
      const error = fromRpc(cause);
      // One that names a field is about this user, not about the key.
      if (error.retryable || error.violations.length === 0) throw error;
      return this.#refused([record], error);
    }
  }

  /** A batch that was refused as a whole. */
  async #refused(batch: Uint8Array[], error: PenstockError): Promise<number> {
    if (this.#token && error.violations.some(({ field }) => field === "position_token")) {
      this.#token = ""; // another installation's
      return this.#send(batch);
    }
    // More than the server takes at once.
    if (batch.length > 1) return this.#send(batch.slice(0, batch.length >> 1));
    const violation = error.violations[0] ?? { reason: error.reason || error.code, field: "", description: error.message };
    this.#reject(batch[0]!, violation.reason, violation.field.replace("events[0].", ""), violation.description);
    return 1;
  }

  #reject(record: Uint8Array, code: string, field: string, description: string): void {
    this.#rejected += 1;
    try {
      this.#onRejected({ code, field, description, item: decoded(record) });
    } catch (error) {
      console.error("penstock: onRejected failed", error);
    }
  }

  /** Waits until it is worth trying again. */
  async #pause(error: PenstockError, attempt: number): Promise<void> {
    const longest = Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** Math.min(attempt - 1, 16));
    const until = Date.now() + Math.max(error.retryAfterMs ?? 0, Math.random() * longest);
    while (!this.#closing && Date.now() < until) await this.#sleep(until - Date.now());
  }

  /** What can't succeed stays queued until the next flush. */
  #fail(error: PenstockError): void {
    this.#failure = error;
    const told = [...this.#flushes.splice(0).map(({ later }) => later), ...this.#waiting.splice(0)];
    for (const later of told) later.reject(error);
    if (told.length === 0) console.error(`penstock: what is queued can't be sent, and stays queued until the next flush: ${error.message}`);
  }

  /** There is more in the store than came through here: it leaves now. Flushes end behind it, since it may lie in front of what they wait for. */
  #find(records: number): void {
    this.#queued += records;
    for (const flush of this.#flushes) flush.target += records;
    this.#due = 0;
    this.#start();
    this.#wake?.();
  }

  /** Ends the flushes that have what they wait for. */
  #settle(): void {
    if (this.#opening) return;
    const ended = this.#flushes.filter(({ target }) => this.#done >= target);
    this.#flushes = this.#flushes.filter(({ target }) => this.#done < target);
    for (const { later } of ended) {
      later.resolve({ accepted: this.#accepted, rejected: this.#rejected, token: this.#token });
      this.#accepted = this.#rejected = 0;
    }
  }

  /** So long, or until something is new. */
  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function closed(): Closed {
  return new Closed("CANCELED", "the client is closed");
}

/** An event as a record, and its id. Throws for what can't be sent. */
export function encodedEvent(event: Event): { id: string; record: Uint8Array } {
  const id = event.eventId || eventId();
  const message = create(EventSchema, {
    eventId: id,
    eventType: event.eventType,
    userId: event.userId ?? "",
    // When it was tracked, however late it is sent.
    timestamp: timestampFromDate(event.timestamp ?? new Date()),
    properties: toValues(event.properties, "properties"),
    appId: event.app ?? "",
  });
  return { id, record: framed(EVENT, toBinary(EventSchema, message)) };
}

/** What is known of a user as a record. Throws for what can't be sent. */
export function encodedIdentity({ userId, traits, app }: Identity): Uint8Array {
  const message = create(IdentifyRequestSchema, { userId, traits: toValues(traits, "traits"), appId: app ?? "" });
  return framed(IDENTIFY, toBinary(IdentifyRequestSchema, message));
}

function framed(kind: number, message: Uint8Array): Uint8Array {
  const record = new Uint8Array(message.length + 1);
  record[0] = kind;
  record.set(message, 1);
  return record;
}

function decoded(record: Uint8Array): Event | Identity {
  if (record[0] === IDENTIFY) {
    const { userId, traits, appId } = fromBinary(IdentifyRequestSchema, record.subarray(1));
    return { userId, traits: values(traits), app: appId };
  }
  const { eventId, eventType, userId, timestamp, properties, appId } = fromBinary(EventSchema, record.subarray(1));
  return { eventId, eventType, userId, properties: values(properties), app: appId, ...(timestamp && { timestamp: timestampDate(timestamp) }) };
}

function values(wire: Record<string, Value>): Record<string, Answer> {
  return Object.fromEntries(Object.entries(wire).map(([name, value]) => [name, fromValue(value)]));
}
