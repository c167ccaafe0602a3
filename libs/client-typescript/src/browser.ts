/** Penstock for browsers, and whatever else has fetch: over grpc-web. */
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { BaseClient, type ClientOptions } from "./client.js";

export * from "./shared.js";

/** Sends events and asks questions: see `track`, `flush`, `sql`, `query`, `evaluate`, `stream`, `subscribe` and `export`. */
export class Client extends BaseClient {
  constructor(options: ClientOptions) {
    // What a page that is left still sends outlives it, up to the 64 KiB that browsers allow.
    let leaving = false;
    const send: typeof fetch = (input, init) => fetch(input, { ...init, ...(leaving && { keepalive: true }) });
    super(options, {
      transport: (interceptors) => createGrpcWebTransport({ baseUrl: options.address, interceptors, fetch: send }),
      queueBytes: 4 << 20,
    });
    globalThis.document?.addEventListener("visibilitychange", () => {
      leaving = document.visibilityState === "hidden";
      if (leaving) void this.flush().catch(() => undefined);
    });
  }
}
