/**
 * Penstock for browsers, and whatever else has fetch: over grpc-web.
 *
 * @module
 */
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { BaseClient, type ClientOptions } from "./client.js";
import { Outliving } from "./outliving.js";

export * from "./shared.js";

/** Sends events and asks questions: see `track`, `flush`, `sql`, `query`, `evaluate`, `stream`, `subscribe` and `export`. */
export class Client extends BaseClient {
  /** A client; it connects when it has something to say. Throws a TypeError for a key that can't be one. */
  constructor(options: ClientOptions) {
    const outliving = new Outliving();
    super(options, {
      transport: (interceptors) => createGrpcWebTransport({ baseUrl: options.address, interceptors, fetch: outliving.fetch }),
      queueBytes: 4 << 20,
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
