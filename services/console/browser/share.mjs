// A dashboard goes into a page of the tenant's own: who signs for it, what it shows there, and that the code to be copied runs.
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
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
  await visit.picture(reader, "share-dark", [1440, 390]);

  return {
    all,
    isOpen,
    hidden,
    own,
    result: result.rows,
    element,
    python,
    isSecretKept: kept.includes(secret),
    listed: listed.map((text) => text.replace(/\(\w+/, "(...")),
    later,
    named,
  };
});
