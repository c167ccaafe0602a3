/// <reference lib="esnext.disposable" preserve="true" />
/** The client, on any transport. */
import { create } from "@bufbuild/protobuf";
import { type CallOptions, type Client as Stub, type Interceptor, type Transport, createClient } from "@connectrpc/connect";

import { PenstockError, QueueFull, Unavailable, fromRpc } from "./errors.js";
import { AcknowledgementSchema, IngestService } from "./gen/penstock/v1/ingest_pb.js";
import { MetricsService } from "./gen/penstock/v1/metrics_pb.js";
import { ExportFormat as WireFormat, type ExportResponse, QueryService } from "./gen/penstock/v1/query_pb.js";
import {
  type Flushed,
  type Query,
  type Question,
  type ReadOptions,
  type Shape,
  duration,
  optionsToWire,
  queryToWire,
  shapeToWire,
} from "./questions.js";
import { Memory, type Store, fieldBytes } from "./queue.js";
import { type Info, LiveAnswer, type Result, type Row, type Update, columnsFromWire, infoFromWire, resultFromWire, rowFromWire } from "./results.js";
import { type Event, type Identity, type Limits, type Rejection, Sender, type Wire, encodedEvent, encodedIdentity } from "./sender.js";

/** How often a question is asked while the server can't be reached. */
const ATTEMPTS = 4;
const TIMEOUT_MS = 30_000;
/** What a message has before it on the wire: a flag and its length. */
const FRAME_BYTES = 5;
const FORMATS: Readonly<Record<ExportFormat, WireFormat>> = { arrow: WireFormat.ARROW, csv: WireFormat.CSV, ndjson: WireFormat.NDJSON };

/** What an export writes: an Arrow IPC stream, CSV with a line of names, or a JSON object a line. */
export type ExportFormat = "arrow" | "csv" | "ndjson";

/** Where the server is, and how the client behaves. */
export interface ClientOptions {
  /** The server, as "http://127.0.0.1:7070". */
  readonly address: string;
  /** The API key, or in a page an embed token. A function is asked before each call, so that short tokens can be renewed. */
  readonly key: string | (() => string | Promise<string>);
  /** The app of events and questions that name none. Not needed if the key reaches one app alone. */
  readonly app?: string;
  /** How long a call may take, in milliseconds, where it doesn't say otherwise. Default: 30,000. */
  readonly timeoutMs?: number;
  /** Whether each answer includes all that this client had flushed before it asked. */
  readonly readYourWrites?: boolean;
  /** Whether `track` waits while the queue is full, or throws `QueueFull`. Default: it waits. */
  readonly whenFull?: "wait" | "throw";
  /** When batches leave, and how much may be queued. */
  readonly limits?: Limits;
  /**
   * Where the queue lies on disk: what is queued there outlives the process or the page, however it ends, and is sent by the next client that
   * has the directory, with that one's key. Default: it is in memory.
   *
   * In Node.js a directory, which one client has at a time. In a browser the name of a database (IndexedDB), which the pages of an origin
   * share: each sends what is its own, and what those left that are no more.
   */
  readonly directory?: string;
  /** Called with each event that was refused. Default: it is logged as a warning. */
  readonly onRejected?: (rejection: Rejection) => void;
}

/** What an environment adds: the store of the queue, and how much of it there may be. */
export interface Surroundings {
  readonly transport: (interceptors: Interceptor[]) => Transport;
  readonly store?: Store;
  readonly queueBytes: number;
  /** How many bytes a request with events may have now. Default: as many as a batch has. */
  readonly longest?: () => number;
}

/**
 * Sends events and asks questions.
 *
 * What is tracked is queued at once and sent in batches by itself; `close` sends what is left.
 */
export class BaseClient {
  readonly #options: ClientOptions;
  readonly #ingest: Stub<typeof IngestService>;
  readonly #query: Stub<typeof QueryService>;
  readonly #metrics: Stub<typeof MetricsService>;
  readonly #sender: Sender;
  /** Whoever waits for room, in order. */
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  /** The newest key, for as long as there is no time to ask for a newer one. */
  #leaving = false;
  #newestKey = "";

  constructor(options: ClientOptions, { transport, store, queueBytes, longest }: Surroundings) {
    const key = typeof options.key === "string" ? plain(options.key) : options.key;
    const authorize: Interceptor = (next) => async (request) => {
      if (!(this.#leaving && this.#newestKey)) this.#newestKey = typeof key === "string" ? key : plain(await key());
      request.header.set("authorization", `Bearer ${this.#newestKey}`);
      return next(request);
    };
    const made = transport([authorize]);
    this.#options = options;
    this.#ingest = createClient(IngestService, made);
    this.#query = createClient(QueryService, made);
    this.#metrics = createClient(MetricsService, made);
    const limits = { batchEvents: 500, batchBytes: 512 << 10, batchMs: 200, queueBytes, ...options.limits };
    const appId = options.app ?? "";
    const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    const wire: Wire = {
      publish: async (events, positionToken, signal) => {
        const answer = await this.#ingest.publish({ appId, events, positionToken }, { timeoutMs, signal });
        return answer.acknowledgement ?? create(AcknowledgementSchema);
      },
      identify: async (request, signal) => {
        const named = { ...request, appId: request.appId || appId };
        return (await this.#ingest.identify(named, { timeoutMs, signal })).positionToken;
      },
      overhead: FRAME_BYTES + fieldBytes(new TextEncoder().encode(appId).length),
      ...(longest && { longest }),
    };
    this.#sender = new Sender(store ?? new Memory(), wire, limits, options.onRejected ?? logRejection);
  }

  // Sending

  /**
   * Queues an event and returns its id. The server counts an id once within 24 hours, however often it is sent. With `directory` the event is on
   * disk when the promise is settled.
   *
   * Await it: while the queue is full, it waits. Throws a TypeError or a RangeError for a property that can't be sent, `QueueFull` with
   * `whenFull: "throw"`, `Closed`, and, while the queue is full, what keeps it from being sent.
   */
  async track(event: Event): Promise<string> {
    const { id, record } = encodedEvent(event);
    await this.#put(record);
    return id;
  }

  /** Queues what is known of a user: the user's events that are tracked from here on carry it. Throws as `track` does. */
  async identify(identity: Identity): Promise<void> {
    await this.#put(encodedIdentity(identity));
  }

  /**
   * Sends at once what is queued; settled when each event that was tracked before is accepted or rejected.
   *
   * Throws `DeadlineExceeded` after `timeoutMs`, and what keeps the queue from being sent, such as a key that is revoked. What is queued stays
   * queued; the next flush tries again.
   *
   * @param options How long it may take, in milliseconds. Default: for ever.
   */
  async flush({ timeoutMs }: { timeoutMs?: number } = {}): Promise<Flushed> {
    await this.#turn;
    return this.#sender.flush(timeoutMs);
  }

  /**
   * Sends what is queued, for `timeoutMs` at most, and ends the client. What can't be sent by then goes to `onRejected` with
   * the code NOT_SENT, or stays in the directory for the next client.
   *
   * @param options How long it may take, in milliseconds. Default: 10,000.
   */
  async close({ timeoutMs = 10_000 }: { timeoutMs?: number } = {}): Promise<void> {
    await this.#sender.flush(timeoutMs).catch(() => undefined);
    await this.#sender.close();
  }

  /** What is queued leaves now. */
  protected hurry(): void {
    this.#sender.hurry();
  }

  /** What is queued leaves at once, as far as requests of so many bytes in all can have it, without waiting for an answer or for a newer key. */
  protected part(bytes: number): void {
    this.#leaving = true;
    this.#sender.part(bytes);
  }

  /** Whoever left is there again. */
  protected stay(): void {
    this.#leaving = false;
  }

  /** `close`, where the block ends that has the client by `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** How many events are queued or under way. */
  get pending(): number {
    return this.#sender.pending;
  }

  async #put(record: Uint8Array): Promise<void> {
    await this.#take(record);
    await this.#sender.written();
  }

  async #take(record: Uint8Array): Promise<void> {
    if (this.#waiting === 0) {
      const room = this.#sender.offer(record);
      if (!room) return;
      if (this.#options.whenFull === "throw") {
        room.catch(() => undefined);
        throw new QueueFull("RESOURCE_EXHAUSTED", "the queue is full");
      }
    }
    // One after another, in the order in which they came.
    this.#waiting += 1;
    const turn = this.#turn.then(async () => {
      for (let room; (room = this.#sender.offer(record)); ) await room;
    });
    this.#turn = turn.catch(() => undefined).finally(() => (this.#waiting -= 1));
    await turn;
  }

  // Asking

  /**
   * Answers a SELECT over `events` and `users`, up to 10,000 rows; see `stream` for more. `T` says what its rows are.
   *
   * Throws `InvalidArgument` with the `position` in the text and what would be right, and every other `PenstockError`.
   */
  async sql<T = Row>(text: string, options: ReadOptions = {}): Promise<Result<T>> {
    const request = { sql: text, appId: this.#app(options), options: this.#read(options) };
    return this.#result<T>((call) => this.#query.sql(request, call), options);
  }

  /** Answers a typed query, up to 10,000 rows; see `stream` for more. Throws as `sql` does. */
  async query<T = Row>(query: Query, options: ReadOptions = {}): Promise<Result<T>> {
    const request = { query: queryToWire(query, this.#app(options)), options: this.#read(options) };
    return this.#result<T>((call) => this.#query.query(request, call), options);
  }

  /** Evaluates a metric by its name; the shape says by what it is split. Throws as `sql` does. */
  async evaluate<T = Row>(metric: string, shape: Shape = {}, options: ReadOptions & { version?: number } = {}): Promise<Result<T>> {
    const evaluation = shapeToWire(shape);
    const appId = this.#app(options);
    const request = { appId, name: metric, version: options.version ?? 0, evaluation, options: this.#read(options) };
    return this.#result<T>((call) => this.#metrics.evaluate(request, call), options);
  }

  /** Answers with any number of rows, as they come. Throws as `sql` does, and `Unavailable` if the answer breaks off. */
  async *stream<T = Row>(question: Question, options: ReadOptions = {}): AsyncGenerator<T, void, undefined> {
    const [appId, read] = [this.#app(options), this.#read(options)];
    const { signal, end } = ending(options.signal);
    const call = this.#call({ ...options, signal });
    const parts =
      typeof question === "string"
        ? this.#query.sqlStream({ sql: question, appId, options: read }, call)
        : this.#query.queryStream({ query: queryToWire(question, appId), options: read }, call);
    let columns: ReturnType<typeof columnsFromWire> = [];
    let whole = false;
    try {
      for await (const { part } of parts) {
        if (part?.part.case === "header") columns = columnsFromWire(part.part.value.columns);
        else if (part?.part.case === "rows") yield* part.part.value.rows.map((row) => rowFromWire<T>(columns, row));
        else whole = true;
      }
    } catch (error) {
      throw fromRpc(error);
    } finally {
      end();
    }
    if (!whole) throw brokeOff("the answer");
  }

  /**
   * Answers now, and again whenever the answer changes, for as long as it is iterated over. Each update has the whole answer, put together from
   * what the server says is different. Where the server goes away it is asked again.
   *
   * `minIntervalMs`: the least time from one update to the next, 200 to 3,600,000; default 1,000. `timeoutMs` is how long the subscription
   * may take in all; default: for ever.
   */
  async *subscribe<T = Row>(
    question: Question,
    options: ReadOptions & { minIntervalMs?: number } = {},
  ): AsyncGenerator<Update<T>, void, undefined> {
    const { minIntervalMs } = options;
    const request = {
      question: this.#question(question, options),
      options: this.#read(options),
      ...(minIntervalMs !== undefined && { minInterval: duration(minIntervalMs) }),
    };
    const until = deadline(options.timeoutMs);
    for (let attempt = 1; ; attempt++) {
      const answer = new LiveAnswer<T>();
      const { signal, end } = ending(options.signal);
      let error;
      try {
        for await (const push of this.#query.subscribe(request, this.#call({ signal }, until))) {
          attempt = 0;
          const update = answer.push(push);
          if (update) yield update;
        }
        error = brokeOff("the subscription");
      } catch (cause) {
        error = fromRpc(cause);
      } finally {
        end();
      }
      await pause(error, Math.max(attempt, 1), until);
    }
  }

  /**
   * Answers with a file of any length. The key needs the `export` permission. Where the server goes away meanwhile, the export goes on behind
   * the last piece.
   */
  export(question: Question, format: ExportFormat = "arrow", options: ReadOptions = {}): Export {
    const [asked, read] = [this.#question(question, options), this.#read(options)];
    const until = deadline(options.timeoutMs);
    return new Export(
      (resumeToken, signal) =>
        this.#query.export(
          { question: asked, options: read, format: FORMATS[format], resumeToken },
          this.#call({ signal }, until),
        ),
      until,
      options.signal,
    );
  }

  #app(options: ReadOptions): string {
    return options.app ?? this.#options.app ?? "";
  }

  #read(options: ReadOptions) {
    return optionsToWire(options, this.#options.readYourWrites ? this.#sender.token : "");
  }

  #question(question: Question, options: ReadOptions) {
    const appId = this.#app(options);
    return typeof question === "string"
      ? { case: "sql" as const, value: { sql: question, appId } }
      : { case: "query" as const, value: queryToWire(question, appId) };
  }

  /** How a call is made: until then, or, where nothing is said, for as long as the options say. */
  #call({ timeoutMs, signal }: ReadOptions, until?: number): CallOptions {
    const left = until === undefined ? (timeoutMs ?? this.#options.timeoutMs ?? TIMEOUT_MS) : Math.max(1, until - Date.now());
    return { ...(Number.isFinite(left) && { timeoutMs: left }), ...(signal && { signal }) };
  }

  async #result<T>(
    ask: (call: CallOptions) => Promise<{ result?: Parameters<typeof resultFromWire>[0] }>,
    options: ReadOptions,
  ): Promise<Result<T>> {
    const until = deadline(options.timeoutMs ?? this.#options.timeoutMs ?? TIMEOUT_MS);
    for (let attempt = 1; ; attempt++) {
      try {
        return resultFromWire<T>((await ask(this.#call(options, until))).result);
      } catch (cause) {
        await pause(fromRpc(cause), attempt, until);
      }
    }
  }
}

/** A file of any length, piece by piece as it is iterated over, or as a whole by one of the methods. To be read once. */
export class Export implements AsyncIterable<Uint8Array> {
  /** What the file is, from the first piece on. */
  contentType = "";
  /** How many rows are in the pieces so far. */
  rows = 0;
  /** As of when the answer is, from the first piece on. */
  info: Info = infoFromWire(undefined);
  readonly #ask: (resumeToken: string, signal: AbortSignal) => AsyncIterable<ExportResponse>;
  readonly #until: number;
  readonly #signal: AbortSignal | undefined;

  /** @internal */
  constructor(
    ask: (resumeToken: string, signal: AbortSignal) => AsyncIterable<ExportResponse>,
    until: number,
    signal: AbortSignal | undefined,
  ) {
    this.#ask = ask;
    this.#until = until;
    this.#signal = signal;
  }

  /** The pieces, in order. Throws as `sql` does. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    let token = "";
    for (let attempt = 1; ; attempt++) {
      const { signal, end } = ending(this.#signal);
      let error;
      try {
        for await (const piece of this.#ask(token, signal)) {
          attempt = 0;
          token = piece.resumeToken;
          this.contentType ||= piece.contentType;
          this.rows = Number(piece.rows);
          this.info = { ...infoFromWire(undefined), ...watermark(piece) };
          if (piece.data.length > 0) yield piece.data;
          if (piece.last) return;
        }
        error = brokeOff("the export");
      } catch (cause) {
        error = fromRpc(cause);
      } finally {
        end();
      }
      await pause(error, Math.max(attempt, 1), this.#until);
    }
  }

  /** The whole file. */
  async bytes(): Promise<Uint8Array> {
    const pieces = [];
    for await (const piece of this) pieces.push(piece);
    const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
    let at = 0;
    for (const piece of pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }

  /** The whole file as text. */
  async text(): Promise<string> {
    return new TextDecoder().decode(await this.bytes());
  }
}

/** The key alone: what comes out of a file ends with its line. */
function plain(given: string): string {
  const key = given.trim();
  if (!/^[!-~]+$/.test(key))
    throw new TypeError("the key is empty, or has a character that none has: give what was shown when it was made, and nothing else");
  return key;
}

function watermark({ watermark }: ExportResponse): Partial<Info> {
  const { completeUntil, token } = infoFromWire({ watermark } as Parameters<typeof infoFromWire>[0]);
  return { completeUntil, token };
}

/** A signal that ends a stream when its reader leaves it, or whoever made the call wants it. */
function ending(signal: AbortSignal | undefined): { signal: AbortSignal; end: () => void } {
  const left = new AbortController();
  return { signal: signal ? AbortSignal.any([signal, left.signal]) : left.signal, end: () => left.abort() };
}

function deadline(timeoutMs: number | undefined): number {
  return timeoutMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + timeoutMs;
}

/** Waits before a question is asked again; throws the error if it isn't to be. */
async function pause(error: PenstockError, attempt: number, until: number): Promise<void> {
  const ms = Math.max(error.retryAfterMs ?? 0, Math.random() * 200 * 2 ** attempt);
  if (!(error instanceof Unavailable) || attempt >= ATTEMPTS || Date.now() + ms >= until) throw error;
  await new Promise((resolve) => setTimeout(resolve, ms));
}

function brokeOff(what: string): Unavailable {
  return new Unavailable("UNAVAILABLE", `${what} broke off`);
}

function logRejection({ code, field, description, item }: Rejection): void {
  console.warn(`penstock: rejected: ${code} ${field}: ${description}`, item);
}
