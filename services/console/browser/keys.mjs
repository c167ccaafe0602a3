// Keys that see a part of the events, that end by themselves, that are for some places alone, that sign; and one that is rotated.
import { generateKeyPairSync, sign } from "node:crypto";
import { given, tell } from "./visit.mjs";

tell(async (visit) => {
  /** How many events there are for who shows this, perhaps in a page of an origin, or why there is no answer. */
  const count = async (/** @type {string} */ bearer, /** @type {string} */ origin = "") => {
    const headers = new Headers({ authorization: `Bearer ${bearer}`, "content-type": "application/json" });
    if (origin !== "") headers.set("origin", origin);
    const body = JSON.stringify({ app_id: "xyz123", sql: "SELECT COUNT(*) AS n FROM events" });
    const answer = await (await fetch(`${visit.origin}/v1/sql`, { method: "POST", headers, body })).json();
    return answer.result?.rows[0].values[0].integer ?? answer.error.message;
  };
  const page = await visit.page();
  /** @type {string[]} */
  const asked = [];
  page.on("dialog", (dialog) => {
    asked.push(dialog.message());
    return dialog.accept();
  });
  await visit.signIn(page, given("PENSTOCK_KEY"), "/console/keys");
  const dialog = page.getByRole("dialog", { name: "New key" });
  const make = dialog.getByRole("button", { name: "Make the key" });
  const open = async (/** @type {string} */ name) => {
    await page.getByRole("button", { name: "New key" }).click();
    await dialog.getByLabel("Name").fill(name);
  };
  const row = (/** @type {string} */ name) => page.getByRole("row", { name }).locator("td");

  // It sees what was paid, and ends.
  await open("what was paid");
  await dialog.getByLabel("Good until, UTC").fill("2099-01-31T12:00");
  await dialog.getByRole("button", { name: "Add filter" }).click();
  const isHalf = await make.isDisabled();
  await dialog.getByRole("combobox", { name: "Property of filter 1" }).fill("status");
  await page.keyboard.press("Enter");
  await dialog.getByRole("combobox", { name: "Values of filter 1" }).fill("pai");
  await page.getByRole("option", { name: "paid" }).click();
  await visit.checkBoth(page, "new key, with a filter");
  await visit.picture(page, "key-new", [1440, 390]);
  await make.click();
  const text = page.getByLabel("The key's text");
  const old = await text.inputValue();
  // The text stands there before the list is told anew.
  await row("what was paid").first().waitFor();
  const [permissions, reach, , state] = await row("what was paid").allTextContents();
  const paid = [await count(old), permissions, reach, state];

  // A new one in its place: both are good meanwhile, and it is rotated once.
  await page.getByRole("button", { name: "Rotate what was paid" }).click();
  await row("what was paid").nth(5).waitFor();
  const now = await text.inputValue();
  const rotated = {
    asked: asked[0],
    isNew: now !== old,
    counts: [await count(old), await count(now)],
    again: await page.getByRole("button", { name: "Rotate what was paid" }).count(),
    // The old one ends sooner.
    ends: (await row("what was paid").allTextContents()).filter((text) => text === state).length,
  };
  await page.getByRole("button", { name: "I have it" }).click();

  // One for some networks and the pages of one site, which others go before. What the server refuses is said where it stands.
  await open("nightly");
  const networks = dialog.getByLabel("Networks");
  const pages = dialog.getByLabel("Web pages that may call");
  await networks.fill("127.0.0.1, 10.0.0.1/8");
  await pages.fill("https://dash.example/");
  await dialog.getByLabel("Highest priority").selectOption("background");
  await make.click();
  const marked = dialog.locator(".hint.wrong");
  await marked.first().waitFor();
  const faults = await marked.allTextContents();
  await visit.checkBoth(page, "new key, refused");
  await visit.picture(page, "key-refused", [1440, 390]);
  await networks.fill("127.0.0.1, 10.0.0.0/8");
  await pages.fill("https://dash.example");
  const left = await dialog.getByRole("alert").or(marked).count();
  await make.click();
  await row("nightly").first().waitFor();
  const nightly = await text.inputValue();
  const narrow = {
    faults,
    left,
    says: (await row("nightly").allTextContents()).slice(0, 2),
    counts: [
      await count(nightly),
      await count(nightly, "https://dash.example"),
      await count(nightly, "https://other.example"),
    ],
  };
  await page.getByRole("button", { name: "I have it" }).click();

  // One that signs, by a private key that stays here.
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  await open("portal");
  await dialog.getByLabel("Kind").selectOption("Signs embed tokens, with a private key of yours (Ed25519)");
  const may = await dialog.locator(".checks").first().locator("label").allTextContents();
  await dialog.getByLabel("Public key").fill("bm90aGluZw");
  const wrong = await dialog.getByText("This is no Ed25519 public key.").count();
  await visit.checkBoth(page, "new signing key");
  await dialog.getByLabel("Public key").fill(publicKey.export({ format: "pem", type: "spki" }).toString());
  await make.click();
  await row("portal").first().waitFor();
  const id = /[0-9A-Za-z]{12}/.exec(
    (await page.getByRole("row", { name: "portal" }).locator("code").textContent()) ?? "",
  );
  const encoded = (/** @type {object} */ part) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const exp = Math.floor(Date.now() / 1_000) + 600;
  const claims = { exp, filters: { status: "open" } };
  const signed = `${encoded({ alg: "EdDSA", kid: id?.[0] })}.${encoded(claims)}`;
  const token = `${signed}.${sign(null, Buffer.from(signed), privateKey).toString("base64url")}`;
  const portal = {
    may,
    wrong,
    count: await count(token),
    says: ((await page.getByRole("row", { name: "portal" }).locator("code").textContent()) ?? "").split(", ")[1],
    rotates: await page.getByRole("button", { name: "Rotate portal" }).count(),
  };

  // One that signs, by a secret that is shown once.
  await open("shop window");
  await dialog.getByLabel("Kind").selectOption("Signs embed tokens, with a secret made here (HS256)");
  await make.click();
  const bytes = Buffer.from(await page.getByLabel(/^The secret of/).inputValue(), "base64url").length;
  await visit.checkBoth(page, "keys of all kinds");
  await visit.picture(page, "keys-kinds");

  await page.getByRole("button", { name: "Revoke portal" }).click();
  await row("portal").getByText("revoked").waitFor();
  return { isHalf, paid, rotated, narrow, portal, bytes };
});
