// The same page as host.mjs shows, in React: the host signs tokens at /token for whoever is signed in.
import { PenstockChart, PenstockDashboard } from "@penstock/react";
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import dashboard from "./dashboard.json";

const { server = "", app = "" } = document.documentElement.dataset;

async function token(): Promise<string> {
  const answer = await fetch(`/token${window.location.search}`);
  if (!answer.ok) throw new Error(`the host says ${answer.status}`);
  return answer.text();
}

function Page() {
  const [isByStore, setByStore] = useState(false);
  const where = { server, app, token };
  return (
    <main>
      <h1>Your sales</h1>
      <button type="button" aria-pressed={isByStore} onClick={() => setByStore(!isByStore)}>
        By store
      </button>
      <PenstockChart
        {...where}
        formula="SUM(amount)"
        label="Revenue"
        view="bar"
        {...(isByStore ? { by: ["store"] } : {})}
      />
      <PenstockDashboard {...where} dashboard={dashboard} className="board" />
    </main>
  );
}

const root = document.getElementById("root");
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <Page />
    </StrictMode>,
  );
}
