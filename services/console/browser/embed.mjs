// A product's own page with charts, as two of its customers see it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { given, tell } from "./visit.mjs";

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  return typeof address === "object" && address !== null ? address.port : 0;
}

tell(async (visit) => {
  const port = await freePort();
  const env = { ...process.env, PENSTOCK: visit.origin, PORT: String(port) };
  const host = spawn(process.execPath, [fileURLToPath(new URL("../example/host.mjs", import.meta.url))], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    await once(host.stdout, "data");
    /** @type {Record<string, unknown>} */
    const seen = {};
    for (const customer of ["ann", "bob"]) {
      const page = await visit.page();
      await page.goto(`http://127.0.0.1:${port}/?customer=${customer}`);
      const charts = page.locator("penstock-chart");
      await charts.first().locator("canvas").waitFor();
      await charts.nth(1).locator("tr").first().waitFor();
      seen[customer] = {
        total: await charts.first().locator(".total").textContent(),
        stores: await visit.rows(charts.nth(1).locator("table")),
      };
      await visit.check(page, `embedded for ${customer}`);
      await visit.picture(page, `embedded-${customer}`);
      if (customer === "ann") {
        // As it happens, and with a token that is none.
        const sale = {
          app_id: given("APP"),
          event_type: "sale",
          user_id: "ann",
          properties: { customer: "ann", store: "north", amount: 5 },
        };
        const headers = { authorization: `Bearer ${given("PENSTOCK_KEY")}`, "content-type": "application/json" };
        await fetch(`${visit.origin}/v1/events`, { method: "POST", headers, body: JSON.stringify([sale]) });
        const now = charts.first().locator(".total", { hasText: "15" });
        await now.waitFor();
        seen.later = await now.textContent();
        const said = page.evaluate(
          () => new Promise((resolve) => document.addEventListener("penstock-unauthenticated", () => resolve("told"))),
        );
        await charts.first().evaluate((chart) => chart.setAttribute("token", "nothing"));
        seen.expired = await said;
      }
    }
    return seen;
  } finally {
    host.kill();
  }
});
