// What a program does that sends to Segment, with Segment's own library: only the host and the write key are others. Prints what the library was told.
import { env, stdout } from "node:process";
import { Analytics } from "@segment/analytics-node";

const analytics = new Analytics({ writeKey: env.PENSTOCK_KEY, host: `http://${env.PENSTOCK_ADDRESS}`, maxRetries: 3 });
const errors = [];
analytics.on("error", (error) => errors.push(String(error.reason ?? error.code)));

const context = { ip: "10.0.0.1", userAgent: "shop/1.0", page: { path: "/cart" } };
analytics.identify({ userId: "ann", traits: { plan: "pro", country: "NL", company: "Acme" } });
for (let i = 0; i < 40; i++) {
  analytics.track({ userId: "ann", event: "Order Completed", properties: { total: i + 0.5, cart: { size: i } }, context });
}
analytics.page({ anonymousId: "visitor", name: "Cart", properties: { path: "/cart" } });
analytics.screen({ userId: "bob", name: "Settings" });
analytics.group({ userId: "bob", groupId: "g1", traits: { seats: 12 } });
analytics.alias({ userId: "bob", previousId: "visitor" });
await analytics.closeAndFlush();
stdout.write(JSON.stringify({ errors }));
