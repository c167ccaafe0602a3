/** A page that counts who opens it, and shows the count as it grows: page.html holds it. */
import { Client } from "@penstock/client";

/** What the page's own server says at /penstock.json. */
interface Settings {
  readonly address: string;
  readonly app: string;
  readonly sendingKey: string;
  readonly token: string;
}

async function settings(): Promise<Settings> {
  const answer = await fetch("/penstock.json");
  if (!answer.ok) throw new Error(`no settings: ${answer.status}`);
  return (await answer.json()) as Settings;
}

const { address, app, sendingKey } = await settings();

// Everybody sees a page's key: this one may ingest and nothing else.
const sender = new Client({ address, app, key: sendingKey });
await sender.track({ eventType: "opened", properties: { page: location.pathname } });
const done = await sender.flush();

// An embed token, which the tenant's own server signs for whoever is signed in. It ends, so a function gives the newest.
const reader = new Client({ address, app, key: async () => (await settings()).token });
const opened = "SELECT COUNT(*) AS times FROM events WHERE event_type = 'opened'";
for await (const { rows } of reader.subscribe<{ times: number }>(opened, { after: done })) {
  document.querySelector("output")!.textContent = `opened ${rows[0]?.times} times`;
}
