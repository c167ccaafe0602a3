import { type ComponentType, lazy } from "react";
import type { App, Permission } from "./api/access";
import { Explore } from "./pages/explore/page";
import type { IconName } from "./ui/icon";

export interface Page {
  /** In the address, and after "g" on the keyboard. */
  readonly path: string;
  readonly letter: string;
  readonly label: string;
  readonly icon: IconName;
  readonly group: "Ask" | "Manage";
  /** Any of these lets one in. */
  readonly needs: readonly Permission[];
  readonly show: ComponentType<{ app: App }>;
  /** It is about no app, and there need be none. */
  readonly isOfNoApp?: boolean;
}

const Sql = lazy(async () => ({ default: (await import("./pages/sql/page")).Sql }));

const Live = lazy(async () => ({ default: (await import("./pages/live/page")).Live }));
const Dashboards = lazy(async () => ({ default: (await import("./pages/dashboards/page")).Dashboards }));
const Metrics = lazy(async () => ({ default: (await import("./pages/metrics/page")).Metrics }));

const Keys = lazy(async () => ({ default: (await import("./pages/manage/keys")).Keys }));
const Apps = lazy(async () => ({ default: (await import("./pages/manage/apps")).Apps }));
const Settings = lazy(async () => ({ default: (await import("./pages/manage/settings")).Settings }));
const Branding = lazy(async () => ({ default: (await import("./pages/manage/branding")).Branding }));
const Usage = lazy(async () => ({ default: (await import("./pages/manage/usage")).Usage }));
const Reports = lazy(async () => ({ default: (await import("./pages/manage/reports")).Reports }));
const Tenants = lazy(async () => ({ default: (await import("./pages/manage/tenants")).Tenants }));
const System = lazy(async () => ({ default: (await import("./pages/manage/system")).System }));
const Audit = lazy(async () => ({ default: (await import("./pages/manage/audit")).Audit }));

export const PAGES: readonly Page[] = [
  { path: "explore", letter: "e", label: "Explorer", icon: "explore", group: "Ask", needs: ["query"], show: Explore },
  { path: "sql", letter: "s", label: "SQL", icon: "sql", group: "Ask", needs: ["query"], show: Sql },
  { path: "live", letter: "l", label: "Live", icon: "live", group: "Ask", needs: ["query"], show: Live },
  {
    path: "dashboards",
    letter: "d",
    label: "Dashboards",
    icon: "dashboard",
    group: "Ask",
    needs: ["query"],
    show: Dashboards,
  },
  { path: "metrics", letter: "m", label: "Metrics", icon: "metric", group: "Ask", needs: ["query"], show: Metrics },
  { path: "keys", letter: "k", label: "Keys", icon: "key", group: "Manage", needs: ["admin"], show: Keys },
  {
    path: "apps",
    letter: "a",
    label: "Apps",
    icon: "app",
    group: "Manage",
    needs: ["admin"],
    show: Apps,
    isOfNoApp: true,
  },
  {
    path: "settings",
    letter: "i",
    label: "Settings",
    icon: "settings",
    group: "Manage",
    needs: ["admin"],
    show: Settings,
  },
  {
    path: "branding",
    letter: "b",
    label: "Branding",
    icon: "branding",
    group: "Manage",
    needs: ["admin"],
    show: Branding,
  },
  {
    path: "usage",
    letter: "u",
    label: "Usage and health",
    icon: "health",
    group: "Manage",
    needs: ["admin"],
    show: Usage,
  },
  { path: "reports", letter: "r", label: "Reports", icon: "report", group: "Manage", needs: ["admin"], show: Reports },
  { path: "audit", letter: "t", label: "Audit", icon: "audit", group: "Manage", needs: ["admin"], show: Audit },
  {
    path: "tenants",
    letter: "n",
    label: "Tenants",
    icon: "tenants",
    group: "Manage",
    needs: ["operator"],
    show: Tenants,
    isOfNoApp: true,
  },
  {
    path: "system",
    letter: "y",
    label: "System",
    icon: "health",
    group: "Manage",
    needs: ["operator"],
    show: System,
    isOfNoApp: true,
  },
];
