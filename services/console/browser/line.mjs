// A way to the server that stories can cut.
import { once } from "node:events";
import { connect, createServer } from "node:net";

/** What stands between the browser and the server, and can be cut. */
export class Line {
  /** @type {Set<import("node:net").Socket>} */
  sockets = new Set();
  port = 0;

  /** @param {URL} server */
  constructor(server) {
    this.listener = createServer((near) => {
      const far = connect(Number(server.port), server.hostname);
      for (const socket of [near, far]) {
        this.sockets.add(socket);
        socket.on("close", () => this.sockets.delete(socket)).on("error", () => {});
      }
      near.pipe(far).pipe(near);
      near.on("close", () => far.destroy());
      far.on("close", () => near.destroy());
    });
  }

  async mend() {
    this.listener.listen(this.port, "127.0.0.1");
    await once(this.listener, "listening");
    const address = this.listener.address();
    if (typeof address === "object" && address !== null) this.port = address.port;
  }

  cut() {
    this.listener.close();
    for (const socket of this.sockets) socket.destroy();
  }
}
