/**
 * Penstock for browsers, and whatever else has fetch: over grpc-web.
 *
 * @module
 */
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { BaseClient, type ClientOptions } from "./client.js";
import { Database } from "./database.js";
import type { PenstockError } from "./errors.js";
import { Outliving } from "./outliving.js";

export * from "./shared.js";

/** `ClientOptions`, and what only browsers have. */
export interface BrowserOptions extends ClientOptions {
  /**
   * Called when the queue is to lie on disk and can't, since the browser refuses a database, say, or has no room: what is queued is in memory
   * alone then, and sent all the same. Default: it is logged as a warning.
   */
  readonly onDiskFailed?: (error: PenstockError) => void;
}

/** Sends events and asks questions: see `track`, `flush`, `sql`, `query`, `evaluate`, `stream`, `subscribe` and `export`. */
export class Client extends BaseClient {
  /** A client; it connects when it has something to say. Throws a TypeError for a key that can't be one. */
  constructor(options: BrowserOptions) {
    const { directory, onDiskFailed = logFailure } = options;
    const outliving = new Outliving();
    super(options, {
      transport: (interceptors) => createGrpcWebTransport({ baseUrl: options.address, interceptors, fetch: outliving.fetch }),
      queueBytes: 4 << 20,
      ...(directory !== undefined && { store: new Database(directory, onDiskFailed) }),
      longest: () => outliving.longest,
    });
    const hidden = () => globalThis.document?.visibilityState === "hidden";
    let left = false;
    // A page that nobody sees may end without a word: what is queued is sent now, piece by piece and in its order.
    globalThis.document?.addEventListener("visibilitychange", () => {
      outliving.wanted = hidden();
      if (hidden() && !left) this.hurry();
    });
    // One that is left hears no answer: what can still be sent is sent at once. Some come back.
    globalThis.addEventListener?.("pagehide", () => {
      outliving.wanted = left = true;
      this.part(outliving.room);
    });
    globalThis.addEventListener?.("pageshow", () => {
      left = false;
      outliving.wanted = hidden();
      this.stay();
    });
  }
}

function logFailure(error: PenstockError): void {
  console.warn(`penstock: ${error.message}`);
}
