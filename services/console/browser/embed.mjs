// A product's own page with charts, as two of its customers see it.
import { startHost } from "./host.mjs";
import { given, tell } from "./visit.mjs";

tell(async (visit) => {
  const host = await startHost(visit.origin);
  try {
    /** @type {Record<string, unknown>} */
    const seen = {};
    for (const customer of ["ann", "bob"]) {
      const page = await visit.page();
      await page.goto(`${host.origin}/?customer=${customer}`);
      const tile = (/** @type {string} */ name) =>
        page.locator("penstock-dashboard").getByRole("region", { name, exact: true });
      const charts = page.locator("penstock-chart");
      await charts.first().locator("canvas").waitFor();
      await charts.nth(1).locator("tr").first().waitFor();
      await tile("Revenue and sales").locator("canvas").waitFor();
      await tile("By country").getByRole("img").first().waitFor();
      await tile("Share of stores").locator("canvas").waitFor();
      seen[customer] = {
        total: await charts.first().locator(".total").textContent(),
        stores: await visit.rows(charts.nth(1).locator("table")),
        dashboard: {
          totals: await tile("Revenue and sales").locator(".total").allTextContents(),
          stores: await visit.rows(tile("By store").locator("table")),
          countries: await visit.rows(tile("By country").locator("table")),
          buyers: await visit.rows(tile("Buyers").locator("table")),
        },
      };
      const plot = charts.first().locator(".u-over");
      const tip = charts.first().locator(".tip p");
      const point = async () => {
        const width = await plot.evaluate((over) => over.clientWidth);
        // To where it is already, the browser doesn't move it: and the plot may be another since.
        await page.mouse.move(0, 0);
        await plot.hover({ position: { x: width - 40, y: 40 } });
        await tip.waitFor();
      };
      await point();
      seen[`${customer} under the pointer`] = await tip.textContent();
      await visit.check(page, `embedded for ${customer}`);
      await visit.picture(page, `embedded-${customer}`);
      if (customer === "bob") {
        const ground = () => charts.first().evaluate((chart) => getComputedStyle(chart).backgroundColor);
        const light = await ground();
        await page.locator("penstock-chart, penstock-dashboard").evaluateAll((elements) => {
          for (const element of elements) element.setAttribute("theme", "dark");
        });
        await charts.first().locator("canvas").waitFor();
        await tile("Share of stores").locator("canvas").waitFor();
        seen.grounds = [light, await ground()];
        await visit.check(page, "embedded, dark");
        await visit.picture(page, "embedded-dark");
      }
      if (customer === "ann") {
        // As it happens, and with a token that is none.
        const sale = {
          app_id: given("APP"),
          event_type: "sale",
          user_id: "ann",
          properties: { customer: "ann", store: "north", amount: 5, land: "DE" },
        };
        const headers = { authorization: `Bearer ${given("PENSTOCK_KEY")}`, "content-type": "application/json" };
        await point();
        await fetch(`${visit.origin}/v1/events`, { method: "POST", headers, body: JSON.stringify([sale]) });
        const now = charts.first().locator(".total", { hasText: "15" });
        await now.waitFor();
        seen.later = await now.textContent();
        // It is another picture under a pointer that rests.
        seen.pointed = await tip.filter({ hasText: "15" }).textContent();
        await tile("By country").getByRole("img", { name: "Germany: 15" }).waitFor();
        await tile("Buyers").getByRole("row", { name: "ann 15" }).waitFor();
        await tile("Revenue and sales").locator(".total", { hasText: "15" }).waitFor();
        const said = page.evaluate(
          () => new Promise((resolve) => document.addEventListener("penstock-unauthenticated", () => resolve("told"))),
        );
        await charts.first().evaluate((chart) => chart.setAttribute("token", "nothing"));
        seen.expired = await said;
        const dashboard = page.locator("penstock-dashboard");
        const told = page.evaluate(
          () =>
            new Promise((resolve) =>
              document.addEventListener("penstock-unauthenticated", ({ target }) =>
                resolve(target instanceof Element && target.localName),
              ),
            ),
        );
        const token = (await dashboard.getAttribute("token")) ?? "";
        await dashboard.evaluate((element) => element.setAttribute("token", "nothing"));
        seen.dashboardExpired = await told;
        await page.getByRole("alert").filter({ hasText: "new token" }).last().waitFor();
        await dashboard.evaluate((element, given) => element.setAttribute("token", given), token);
        await tile("Buyers").getByRole("row", { name: "ann 15" }).waitFor();
        // What can't be shown says why, beside what can.
        const board = JSON.parse(await (await fetch(`${host.origin}/dashboard.json`)).text());
        board.tiles[1].question = JSON.stringify({ by: ["stoer"], view: "bar" });
        await dashboard.evaluate((element, text) => {
          element.removeAttribute("src");
          element.setAttribute("dashboard", text);
        }, JSON.stringify(board));
        seen.mistake = await tile("By store").getByRole("alert").textContent();
        await tile("Buyers").getByRole("row", { name: "ann 15" }).waitFor();
        await dashboard.evaluate((element) => element.setAttribute("dashboard", "{}"));
        // Until then the one alert is the mistake's.
        await tile("Buyers").waitFor({ state: "detached" });
        seen.none = await dashboard.getByRole("alert").textContent();
        // One that the server keeps, if the token names it.
        const call = async (/** @type {string} */ method, /** @type {string} */ path, /** @type {object} */ body) => {
          const url = `${visit.origin}/v1/apps/${given("APP")}/${path}`;
          const answer = await fetch(url, { method, headers, body: JSON.stringify(body) });
          if (!answer.ok) throw new Error(await answer.text());
        };
        await call("POST", "metrics", { definition: { name: "sold", formula: "SUM(amount)" } });
        const query = {
          measures: [{ name: "Kept", formula: "SUM(amount)" }],
          dimensions: [{ expression: "customer" }],
        };
        const sql = { sql: "SELECT customer, COUNT(*) AS sales FROM events GROUP BY customer" };
        const metric = { name: "sold", evaluation: { dimensions: [{ expression: "customer" }] } };
        const tiles = [
          { id: "q", title: "A query", view: "TILE_VIEW_TABLE", query },
          { id: "s", title: "A SELECT", view: "TILE_VIEW_TABLE", sql },
          { id: "m", title: "A metric", view: "TILE_VIEW_BAR", metric },
        ];
        for (const id of ["sales", "costs"]) await call("PUT", `dashboards/${id}`, { dashboard: { title: id, tiles } });
        await dashboard.evaluate((element) => element.setAttribute("dashboard", "sales"));
        const kept = [];
        for (const { title } of tiles) kept.push(await visit.rows(tile(title).locator("table")));
        seen.kept = kept;
        await visit.check(page, "embedded, kept by the server");
        await visit.picture(page, "embedded-kept");
        // The same for whoever may see everybody's.
        const inside = await visit.page();
        await visit.signIn(inside, given("PENSTOCK_KEY"), `/console/dashboards?app=${given("APP")}&board=sales`);
        const rows = [];
        for (const { title } of tiles) {
          const table = inside.getByRole("region", { name: title, exact: true }).locator("table");
          rows.push((await visit.rows(table)).sort());
        }
        seen.inside = rows;
        await visit.checkBoth(inside, "dashboard of all kinds");
        await visit.picture(inside, "dashboard-kinds");
        await inside.close();
        await dashboard.evaluate((element) => element.setAttribute("dashboard", "costs"));
        seen.unnamed = await dashboard.getByRole("alert").textContent();
      }
    }
    return seen;
  } finally {
    host.stop();
  }
});
