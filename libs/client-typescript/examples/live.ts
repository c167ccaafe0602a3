/** Follows an answer while events arrive. PENSTOCK_ADDRESS, PENSTOCK_KEY and PENSTOCK_APP say where. */
import { setTimeout } from "node:timers/promises";

import { Client, type Query } from "@penstock/client";

const WANTED = 10;

/** Somebody buys something. */
async function shop(penstock: Client): Promise<void> {
  for (let n = 0; n < WANTED; n++) {
    await penstock.track({ eventType: "order", userId: `u${n % 3}`, properties: { amount: 10 + n } });
    await setTimeout(100);
  }
}

const penstock = new Client();
const shopping = shop(penstock);
const orders: Query = {
  measures: { orders: "COUNT(*)", revenue: "SUM(amount)" },
  filters: [["event_type", "=", "order"]],
};
for await (const { rows } of penstock.subscribe<{ orders: number; revenue: number }>(orders, { minIntervalMs: 200 })) {
  const [now] = rows;
  console.log(`${now!.orders} orders, ${now!.revenue ?? 0} in all`);
  if (now!.orders >= WANTED) break;
}
await shopping;
await penstock.close();
