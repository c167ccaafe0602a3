// A product whose customers each see their own numbers: it signs an embed token for whoever is signed in, and the page shows it.
//
//   penstock key create ... makes a key of kind KEY_KIND_HS256 that may query; then
//   PENSTOCK=http://127.0.0.1:7070 KEY_ID=... KEY_SECRET=... PORT=8080 node host.mjs
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const { PENSTOCK = "http://127.0.0.1:7070", KEY_ID = "", KEY_SECRET = "", APP = "xyz123", PORT = "8080" } = process.env;
// As the console exported it.
const DASHBOARD = readFileSync(new URL("dashboard.json", import.meta.url));
const CUSTOMERS = { ann: "Ann's Bakery", bob: "Bob's Bikes" };

/** A token with which a page sees the events of one customer and the dashboard "sales", if the server keeps one, for ten minutes. The secret stays here.
 * @param {string} customer */
function tokenFor(customer) {
  const encoded = (/** @type {unknown} */ part) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const header = encoded({ alg: "HS256", typ: "JWT", kid: KEY_ID });
  const claims = encoded({
    exp: Math.floor(Date.now() / 1000) + 600,
    apps: [APP],
    filters: { customer },
    dashboards: ["sales"],
  });
  const signature = createHmac("sha256", Buffer.from(KEY_SECRET, "base64url")).update(`${header}.${claims}`);
  return `${header}.${claims}.${signature.digest("base64url")}`;
}

/** @param {keyof typeof CUSTOMERS} customer */
function page(customer) {
  const chart = (/** @type {string} */ attributes) =>
    `<penstock-chart app="${APP}" token="${tokenFor(customer)}" ${attributes}></penstock-chart>`;
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${CUSTOMERS[customer]}</title>
    <link rel="stylesheet" href="/host.css">
    <script type="module" src="${PENSTOCK}/console/penstock-chart.js"></script>
    <script type="module" src="${PENSTOCK}/console/penstock-dashboard.js"></script>
  </head>
  <body>
    <header><strong>Storefront</strong> <span>${CUSTOMERS[customer]}</span></header>
    <main>
      <h1>Your sales</h1>
      ${chart('label="Revenue" formula="SUM(amount)" range="7d" view="bar" grain="day"')}
      ${chart('label="Revenue by store" formula="SUM(amount)" by="store" range="7d" view="bar"')}
      <h2>In detail</h2>
      <penstock-dashboard app="${APP}" token="${tokenFor(customer)}" src="/dashboard.json"></penstock-dashboard>
    </main>
  </body>
</html>`;
}

const CSS = `body { margin: 0; background: #faf7f2; color: #2b2118; font: 15px/1.5 Georgia, serif; }
header { padding: 14px 24px; background: #5b3a1e; color: #fff; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 16px; max-width: 960px; margin: 24px auto; padding: 0 16px; }
h1, h2, penstock-dashboard { grid-column: 1 / -1; margin: 0; }
h1 { font-size: 22px; }
h2 { font-size: 18px; }
penstock-chart, penstock-dashboard { --series-1: #a4551e; --series-2: #2f6f6a; --font: Georgia, serif; }`;

createServer((request, response) => {
  const url = new URL(request.url ?? "/", "http://host");
  // Who is signed in would come from a session; here the address says it.
  const customer = url.searchParams.get("customer") === "bob" ? "bob" : "ann";
  response.setHeader(
    "content-security-policy",
    `default-src 'none'; style-src 'self'; script-src ${PENSTOCK}; connect-src 'self' ${PENSTOCK}; img-src 'self' data:`,
  );
  /** @param {string} kind @param {string | Buffer} body */
  const answer = (kind, body) => response.setHeader("content-type", kind).end(body);
  if (url.pathname === "/host.css") answer("text/css", CSS);
  else if (url.pathname === "/dashboard.json") answer("application/json", DASHBOARD);
  else if (url.pathname === "/token") answer("text/plain", tokenFor(customer));
  else answer("text/html; charset=utf-8", page(customer));
}).listen(Number(PORT), "127.0.0.1", () => process.stdout.write("ready\n"));
