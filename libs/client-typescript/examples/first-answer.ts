/** A first event and a first answer. PENSTOCK_ADDRESS, PENSTOCK_KEY and PENSTOCK_APP say where. */
import { Client } from "@penstock/client";

const penstock = new Client(); // or new Client({ address: "http://127.0.0.1:7070", key, app: "xyz123" })

await penstock.identify({ userId: "u1", traits: { country: "DE", plan: "pro" } });
await penstock.track({ eventType: "purchase", userId: "u1", properties: { amount: 12.5, status: "completed" } });
const done = await penstock.flush();

const byCountry = "SELECT country, SUM(amount) AS revenue FROM events GROUP BY country";
const { rows } = await penstock.sql<{ country: string; revenue: number }>(byCountry, { after: done });
for (const { country, revenue } of rows) console.log(country, revenue);

const byDay = await penstock.query<{ time: Date; revenue: number }>(
  { measures: { revenue: "SUM(amount)" }, filters: [["status", "=", "completed"]], grain: "day" },
  { after: done },
);
for (const { time, revenue } of byDay.rows) console.log(time.toISOString().slice(0, 10), revenue);

await penstock.close();
