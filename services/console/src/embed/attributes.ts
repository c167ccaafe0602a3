import type { Theme } from "../lib/theme";
import { isZone } from "../lib/zone";
import { type Draft, FIRST, type GrainDraft, type View } from "../pages/explore/draft";

export const NAMES = [
  "token",
  "server",
  "app",
  "metric",
  "formula",
  "by",
  "range",
  "grain",
  "time-zone",
  "view",
  "label",
  "theme",
  "height",
] as const;

export interface Attributes {
  readonly token: string;
  readonly server: string;
  readonly app: string;
  /** A metric's name; else `formula` says what is shown. */
  readonly metric: string;
  readonly formula: string;
  readonly by: readonly string[];
  /** As the explorer's: "7d", "month", or two times with a slash between. */
  readonly range: string;
  readonly grain: GrainDraft;
  readonly zone: string;
  readonly view: View | "number";
  readonly label: string;
  readonly theme: Theme;
}

const GRAINS: readonly GrainDraft[] = ["auto", "none", "minute", "hour", "day", "week", "month", "quarter", "year"];
const VIEWS = ["line", "bar", "share", "map", "table", "number"] as const;

/** What the element says of itself; a sentence if that isn't enough, or wrong. */
export function readAttributes(element: Element, server: string): Attributes | string {
  const text = (name: (typeof NAMES)[number]) => element.getAttribute(name)?.trim() ?? "";
  const [metric, formula, zone] = [text("metric"), text("formula"), text("time-zone") || "UTC"];
  const grain = GRAINS.find((one) => one === (text("grain") || "auto"));
  const view = VIEWS.find((one) => one === (text("view") || "line"));
  if (text("token") === "") return "The attribute token is missing.";
  if (text("app") === "") return "The attribute app is missing.";
  if ((metric === "") === (formula === "")) return "Say either metric or formula.";
  if (grain === undefined) return `grain must be one of ${GRAINS.join(", ")}.`;
  if (view === undefined) return `view must be one of ${VIEWS.join(", ")}.`;
  if (!isZone(zone)) return `There is no time zone "${zone}".`;
  return {
    token: text("token"),
    server: text("server") || server,
    app: text("app"),
    metric,
    formula,
    by: text("by")
      .split(",")
      .map((field) => field.trim())
      .filter((field) => field !== ""),
    range: text("range") || FIRST.range,
    grain,
    zone,
    view,
    label: text("label") || metric || formula,
    theme: text("theme") === "dark" ? "dark" : "light",
  };
}

/** The same as a question of the explorer. */
export function draftOf({ metric, formula, by, range, grain, view, zone }: Attributes): Draft {
  const measure = { sort: "formula", field: "", formula: formula || metric, name: metric } as const;
  return {
    ...FIRST,
    measures: [measure],
    by,
    range,
    grain: view === "number" ? "none" : grain,
    zone,
    view: view === "number" ? "bar" : view,
  };
}
