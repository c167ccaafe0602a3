// A report that is due every minute: its first answer comes while somebody waits for it.
import { given, tell } from "./visit.mjs";

/** It is due within a minute, and asked some seconds after. */
const DUE_MS = 120_000;

tell(async (visit) => {
  const page = await visit.page();
  await visit.signIn(page, given("PENSTOCK_KEY"), "/console/reports");
  await page.getByRole("button", { name: "New report" }).click();
  await page.getByLabel("Name").fill("Sales by status");
  await page.getByLabel("When").fill("* * * * *");
  await page
    .getByLabel("Question, in SQL")
    .fill("SELECT status, SUM(amount) AS sold FROM events WHERE event_type = 'sale' GROUP BY status ORDER BY status");
  await page.getByRole("button", { name: "Add the report" }).click();
  await page.getByRole("row", { name: "Sales by status" }).waitFor();
  await page.getByRole("button", { name: "Answers" }).click();
  const answer = page.getByRole("region", { name: "Last answer" });
  await answer.waitFor({ timeout: DUE_MS });
  const rows = await visit.rows(answer);
  const due = await page.locator(".origin").textContent();
  await visit.checkBoth(page, "report with an answer");
  await visit.picture(page, "report-answer");
  return { rows, due };
});
