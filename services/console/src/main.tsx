import "@fontsource-variable/inter/wght.css";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/controls.css";
import "./styles/shell.css";
import "./styles/charts.css";
import "./styles/map.css";
import "./styles/pages.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Console } from "./console";
import { loadBrand } from "./lib/brand";
import { SessionProvider } from "./lib/session";
import { applyTheme } from "./lib/theme";

applyTheme();
const root = document.getElementById("root");
await loadBrand();
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <SessionProvider>
        <Console />
      </SessionProvider>
    </StrictMode>,
  );
}
