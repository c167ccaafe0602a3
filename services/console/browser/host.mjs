// The example's host, started for a story.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** @param {string} penstock */
export async function startHost(penstock) {
  const port = await freePort();
  const env = { ...process.env, PENSTOCK: penstock, PORT: String(port) };
  const host = spawn(process.execPath, [fileURLToPath(new URL("../example/host.mjs", import.meta.url))], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(host.stdout, "data");
  return { origin: `http://127.0.0.1:${port}`, stop: () => host.kill() };
}
