// The TypeScript client's example of a page, as it stands and as a bundler makes it, on a server of its own that says what it may know: it is opened twice,
// and the first one follows the second.
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { bundle } from "./bundle.mjs";
import { given, tell } from "./visit.mjs";

const CLIENT = "../../libs/client-typescript";

/** A token for ten minutes, as a tenant's server signs it.
 * @param {{ key: { key_id: string }; secret: string }} signer @param {string} app */
function tokenOf({ key, secret }, app) {
  const header = { alg: "HS256", typ: "JWT", kid: key.key_id };
  const claims = { exp: Math.floor(Date.now() / 1000) + 600, apps: [app], filters: {} };
  const signed = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return `${signed}.${createHmac("sha256", Buffer.from(secret, "base64url")).update(signed).digest("base64url")}`;
}

await tell(async (visit) => {
  const [app, sendingKey, signer] = [
    given("PENSTOCK_APP"),
    given("PENSTOCK_KEY"),
    JSON.parse(given("PENSTOCK_SIGNER")),
  ];
  const html = readFileSync(new URL(`../${CLIENT}/examples/page.html`, import.meta.url));
  const script = await bundle(`${CLIENT}/dist/examples/page.js`);
  const shop = createServer(({ url }, answer) => {
    /** @param {string} type @param {string | Buffer} body */
    const say = (type, body) => answer.setHeader("content-type", type).end(body);
    if (url === "/") say("text/html", html);
    else if (url === "/page.js") say("text/javascript", script);
    else if (url === "/penstock.json")
      say("application/json", JSON.stringify({ address: visit.origin, app, sendingKey, token: tokenOf(signer, app) }));
    else answer.writeHead(204).end();
  });
  await new Promise((listening) => shop.listen(0, "127.0.0.1", () => listening(undefined)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (shop.address());
  const opened = async () => {
    const page = await visit.page();
    await page.goto(`http://127.0.0.1:${port}/`);
    return page;
  };
  /** @param {import("playwright-core").Page} page @param {number} times */
  const says = (page, times) => page.getByText(`opened ${times} times`, { exact: true }).waitFor();

  const first = await opened();
  await says(first, 1);
  await visit.check(first, "the client's page");
  const second = await opened();
  await says(second, 2);
  await says(first, 2);
  await Promise.all([first.close(), second.close()]);
  shop.close();
  return { opened: 2 };
});
