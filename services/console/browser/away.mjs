// The server goes away under a console that is open, and comes back.
import { Line } from "./line.mjs";
import { given, tell } from "./visit.mjs";

tell(async (visit) => {
  const line = new Line(new URL(visit.origin));
  await line.mend();
  visit.origin = `http://127.0.0.1:${line.port}`;
  try {
    const page = await visit.page();
    await visit.signIn(page, given("PENSTOCK_KEY"), "/console/explore");
    const total = page.locator(".totals dd").first();
    await total.waitFor();
    const before = await total.textContent();

    const live = await visit.page();
    await visit.signIn(live, given("PENSTOCK_KEY"), "/console/live");
    await live.locator(".pulse.live").waitFor();

    const operator = await visit.page();
    await visit.signIn(operator, given("PENSTOCK_OPERATOR_KEY"), "/console/system");
    // As soon as each partition is told of, and what was sent is stored; it looks again by itself.
    await operator
      .getByRole("region", { name: "Partitions", exact: true })
      .getByRole("cell", { name: / ago$/ })
      .nth(3)
      .waitFor();
    await operator
      .locator(".totals > div", { hasText: "Records not yet stored" })
      .getByText("0", { exact: true })
      .waitFor();
    // Calls are told 10 seconds after they were answered.
    const p99 = operator.locator(".totals > div", { hasText: "Slowest service's P99" }).locator("dd");
    await p99.filter({ hasText: /\d/ }).waitFor();
    const told = await operator.getByRole("main").evaluate((main) => ({
      behind: [...main.querySelectorAll(".totals > div")].find((one) =>
        one.textContent?.startsWith("Answers are behind"),
      )?.lastElementChild?.textContent,
      partitions: [...main.querySelectorAll("[aria-label=Partitions] tbody tr")].map((row) =>
        [...row.children].map((cell) => cell.textContent ?? ""),
      ),
    }));
    const seconds = (/** @type {string | undefined} */ text = "") => {
      const [, number, unit] = /^([\d.]+) (ms|s)/.exec(text) ?? [];
      return Number(number) / (unit === "ms" ? 1_000 : 1);
    };
    const sum = (/** @type {number} */ column) => told.partitions.reduce((sum, row) => sum + Number(row[column]), 0);
    const behind = seconds(told.behind ?? "");
    const system = {
      records: sum(1),
      notStored: sum(2),
      p99: await p99.textContent(),
      behind,
      isOfWorst: behind === Math.max(...told.partitions.map((row) => seconds(row[3]))),
    };

    line.cut();
    await page.getByLabel("Range").selectOption("Last 30 days");
    const failed = page.getByRole("alert");
    const again = failed.getByRole("button", { name: "Try again" });
    await again.waitFor();
    const away = [await failed.locator("h2").textContent(), await failed.locator("p").textContent()];
    await visit.checkBoth(page, "the server is away");
    await visit.picture(page, "away");
    await again.click();
    await again.waitFor();
    const pulse = await live.locator(".pulse.behind").textContent();
    const kept = await live.getByRole("region", { name: "Events" }).locator("tbody tr").count();
    const healthy = await operator.getByRole("button", { name: "Try again" }).first().textContent();
    await visit.checkBoth(operator, "System while the server is away");
    await visit.picture(operator, "away-system");

    await line.mend();
    await again.click();
    // The answer of before stays in sight until then.
    await page.locator(".result:not(.stale)").waitFor();
    const after = await total.textContent();
    await live.locator(".pulse.live").waitFor();
    await operator.getByRole("button", { name: "Try again" }).first().waitFor({ state: "detached" });
    const left = await page.getByRole("alert").count();
    // That it couldn't be reached is what was to be seen.
    visit.complaints = visit.complaints.filter((text) => !text.startsWith("Failed to load resource: net::ERR_"));
    return { before, system, away, pulse, kept, healthy, after, left };
  } finally {
    line.cut();
  }
});
