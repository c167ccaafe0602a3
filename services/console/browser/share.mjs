// A dashboard goes into a page of the tenant's own: who signs for it, what it shows there, and that the code to be copied runs.
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { given, tell } from "./visit.mjs";

const APP = "xyz123";

tell(async (visit) => {
  const key = given("PENSTOCK_KEY");
  const call = async (
    /** @type {string} */ method,
    /** @type {string} */ path,
    /** @type {object} */ body,
    bearer = key,
  ) => {
    const headers = { authorization: `Bearer ${bearer}`, "content-type": "application/json" };
    const answer = await fetch(`${visit.origin}/v1/${path}`, { method, headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  };
  const query = { measures: [{ name: "Sold", formula: "SUM(amount)" }], dimensions: [{ expression: "customer" }] };
  const tiles = [{ id: "t", title: "Who buys", view: "TILE_VIEW_TABLE", query }];
  await call("PUT", `apps/${APP}/dashboards/sales`, { dashboard: { title: "Sales", tiles } });

  const page = await visit.page();
  await visit.signIn(page, key, `/console/dashboards?app=${APP}&board=sales`);
  const share = async () => page.getByRole("button", { name: "Share" }).click();
  const dialog = page.getByRole("dialog", { name: "Sales in a page of yours" });
  const inside = page.locator("penstock-dashboard").getByRole("region", { name: "Who buys", exact: true });
  const code = async (/** @type {string} */ title) =>
    (await dialog.getByRole("region", { name: title }).locator("pre").textContent()) ?? "";

  // There is no signing key yet: it is made here, and its secret is shown once.
  await share();
  await dialog.getByText("There is none yet that reaches").waitFor();
  await visit.checkBoth(page, "share, no key yet");
  await dialog.getByRole("button", { name: "Make a signing key" }).click();
  const secret = await dialog.getByLabel(/^The secret of/).inputValue();
  const all = (await visit.rows(inside)).sort();

  // What a customer sees.
  await dialog.getByRole("button", { name: "Add filter" }).click();
  const property = dialog.getByRole("combobox", { name: "Property of filter 1" });
  await property.fill("cust");
  await page.keyboard.press("Escape");
  const isOpen = (await dialog.count()) === 1 && (await property.inputValue()) === "";
  await property.fill("customer");
  await page.keyboard.press("Enter");
  await dialog.getByText("Choose a value for each filter").waitFor();
  const hidden = await inside.count();
  await dialog.getByRole("combobox", { name: "Values of filter 1" }).fill("ann");
  await page.keyboard.press("Enter");
  await inside.getByRole("row", { name: "ann" }).waitFor();
  const own = await visit.rows(inside);
  await visit.checkBoth(page, "share");
  await visit.picture(page, "share");

  // What is to be copied does what it says.
  const dir = await mkdtemp(join(tmpdir(), "share-"));
  const file = join(dir, "sign.mjs");
  await writeFile(file, `${await code("On your server")}\nprocess.stdout.write(token);`);
  const env = { ...process.env, EMBED_SECRET: secret };
  const { stdout: token } = await promisify(execFile)(process.execPath, [file], { env });
  await rm(dir, { recursive: true });
  const sql = { app_id: APP, sql: "SELECT customer, SUM(amount) AS sold FROM events GROUP BY customer" };
  const { result } = await call("POST", "sql", sql, token);
  const element = (await code("In your page")).match(/<penstock-dashboard.*?>/)?.[0];

  // In a page of the tenant's it follows the events of its customer, and of nobody else.
  const copied = (await code("In your page")).replace('token="..."', `token="${token}"`);
  const html = `<!doctype html><html lang="en"><title>A shop</title><main><h1>Your sales</h1>${copied}</main></html>`;
  const theirs = createServer((_, answer) => answer.setHeader("content-type", "text/html").end(html));
  theirs.listen(0, "127.0.0.1");
  await once(theirs, "listening");
  const place = /** @type {import("node:net").AddressInfo} */ (theirs.address());
  const shop = await visit.page();
  await shop.goto(`http://127.0.0.1:${place.port}/`);
  const board = shop.locator("penstock-dashboard");
  const shared = { before: await visit.rows(board.getByRole("region", { name: "Who buys", exact: true })) };
  const sale = (/** @type {string} */ customer, /** @type {number} */ amount) => ({
    app_id: APP,
    event_type: "sale",
    user_id: customer,
    properties: { customer, amount },
  });
  await call("POST", "events", [sale("bob", 7), sale("ann", 5)]);
  await board.getByRole("row", { name: "ann 15" }).waitFor();
  Object.assign(shared, {
    after: await visit.rows(board.getByRole("region", { name: "Who buys", exact: true })),
    hasOthers: await board.evaluate((element) => element.shadowRoot?.textContent?.includes("bob")),
  });
  await visit.check(shop, "shared");
  await visit.picture(shop, "shared");
  await shop.close();
  theirs.close();

  await dialog.getByRole("button", { name: "Python" }).click();
  const python = (await code("On your server")).includes('token_for({ "customer": "ann" })');
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));

  // Later the key is there and its secret isn't.
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  await share();
  await dialog.getByLabel("Signed with").waitFor();
  const listed = await dialog.getByLabel("Signed with").locator("option").allTextContents();
  const later = [await dialog.getByLabel(/^The secret of/).count(), await page.locator("penstock-dashboard").count()];

  // Who may not make keys is told whom to ask.
  const made = await call("POST", "keys", { permissions: ["PERMISSION_QUERY"] });
  const reader = await visit.page("dark");
  await visit.signIn(reader, made.secret, `/console/dashboards?app=${APP}&board=sales`);
  await reader.getByRole("button", { name: "Share" }).click();
  await reader.getByLabel("Id of the signing key").fill("abc");
  const named = await reader.getByText('"kid": "abc"').count();
  await visit.check(reader, "share, by who may not make keys");
  await visit.picture(reader, "share-dark");

  return {
    all,
    isOpen,
    hidden,
    own,
    result: result.rows,
    element,
    python,
    shared,
    isSecretKept: kept.includes(secret),
    listed: listed.map((text) => text.replace(/\(\w+/, "(...")),
    later,
    named,
  };
});
