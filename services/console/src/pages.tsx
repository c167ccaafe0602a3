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
}

const Sql = lazy(async () => ({ default: (await import("./pages/sql/page")).Sql }));

export const PAGES: readonly Page[] = [
  { path: "explore", letter: "e", label: "Explorer", icon: "explore", group: "Ask", needs: ["query"], show: Explore },
  { path: "sql", letter: "s", label: "SQL", icon: "sql", group: "Ask", needs: ["query"], show: Sql },
];
