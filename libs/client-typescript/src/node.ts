/**
 * Penstock for Node.js: over gRPC, with a queue that may lie on disk.
 *
 * @module
 */
import { createGrpcTransport } from "@connectrpc/connect-node";

import { BaseClient, type ClientOptions } from "./client.js";
import { Files } from "./files.js";

export * from "./shared.js";

/** `ClientOptions` as Node.js has them: address, key and app may come from PENSTOCK_ADDRESS, PENSTOCK_KEY and PENSTOCK_APP. */
export type NodeOptions = Partial<ClientOptions>;

/** Sends events and asks questions: see `track`, `flush`, `sql`, `query`, `evaluate`, `stream`, `subscribe` and `export`. */
export class Client extends BaseClient {
  /**
   * A client; it connects when it has something to say. Throws a TypeError without a key, or for one that can't be a key.
   *
   * @param options Where the server is, and how the client behaves.
   */
  constructor({ directory, ...options }: NodeOptions = {}) {
    const { PENSTOCK_ADDRESS = "127.0.0.1:7070", PENSTOCK_KEY, PENSTOCK_APP } = process.env;
    const key = options.key ?? PENSTOCK_KEY;
    if (!key) throw new TypeError("a key is needed: new Client({ key }), or PENSTOCK_KEY in the environment");
    const given = options.address ?? PENSTOCK_ADDRESS;
    const address = given.includes("://") ? given : `http://${given}`;
    const app = options.app ?? PENSTOCK_APP ?? "";
    super(
      { ...options, address, key, app },
      {
        transport: (interceptors) => createGrpcTransport({ baseUrl: address, interceptors, readMaxBytes: 64 << 20 }),
        queueBytes: 32 << 20,
        ...(directory !== undefined && { store: new Files(directory) }),
      },
    );
  }
}
