// The elements as React components, on a page that is built as its owner would build it.
import { once } from "node:events";
import { createServer } from "node:http";
import { bundle } from "./bundle.mjs";
import { startHost } from "./host.mjs";
import { given, tell } from "./visit.mjs";

tell(async (visit) => {
  const script = await bundle("example/react.tsx");
  const host = await startHost(visit.origin);
  let tokens = 0;
  const html = `<!doctype html><html lang="en" data-server="${visit.origin}" data-app="${given("APP")}"><head><meta charset="utf-8">
    <meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><title>Storefront</title></head>
    <body><div id="root"></div><script type="module" src="/page.js"></script></body></html>`;
  const server = createServer(async (request, response) => {
    const path = request.url ?? "/";
    if (path === "/page.js") return response.setHeader("content-type", "text/javascript").end(script);
    if (!path.startsWith("/token")) return response.setHeader("content-type", "text/html").end(html);
    tokens += 1;
    return response.end(await (await fetch(host.origin + path)).text());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  try {
    /** @type {Record<string, unknown>} */
    const seen = {};
    for (const customer of ["ann", "bob"]) {
      const page = await visit.page();
      await page.goto(`http://127.0.0.1:${port}/?customer=${customer}`);
      const chart = page.locator("penstock-chart");
      const tile = page.locator("penstock-dashboard").getByRole("region", { name: "By store", exact: true });
      await chart.locator(".total").waitFor();
      await tile.locator("tr").first().waitFor();
      const total = await chart.locator(".total").textContent();
      // A property that changes is an attribute that changes.
      await page.getByRole("button", { name: "By store" }).click();
      await chart.locator("tr").first().waitFor();
      seen[customer] = { total, chart: await visit.rows(chart), tile: await visit.rows(tile) };
      await visit.check(page, `react for ${customer}`);
    }
    // A token that is over is got anew, without anybody's help.
    const page = await visit.page();
    await page.clock.install();
    await page.goto(`http://127.0.0.1:${port}/?customer=ann`);
    const chart = page.locator("penstock-chart");
    await chart.locator(".total").waitFor();
    // It is there once it has its first token, which it gets by itself.
    await page.locator("penstock-dashboard").waitFor({ state: "attached" });
    await page.clock.fastForward(600_000);
    const before = tokens;
    await chart.evaluate((element) => element.setAttribute("token", "over"));
    await page.waitForFunction(
      () => (document.querySelector("penstock-chart")?.getAttribute("token") ?? "").length > 9,
    );
    await chart.locator(".total", { hasText: "10" }).waitFor();
    return { ...seen, renewed: tokens - before };
  } finally {
    server.close();
    host.stop();
  }
});
