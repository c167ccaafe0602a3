import type { IconName } from "../../ui/icon";

/** One step of a plan; another plan may flow into it. */
export interface Stage {
  readonly kind: string;
  readonly icon: IconName;
  readonly title: string;
  readonly lines: string[];
  readonly within: readonly Stage[];
}

const KINDS: readonly (readonly [RegExp, string, IconName, string])[] = [
  [/^(events|users) of /, "source", "live", "Read"],
  [/^(?:all|and) the rows of$/, "source", "table", "Rows of"],
  [/^(?:left |cross )?join/, "join", "app", "Join"],
  [/^(?:where|and) /, "where", "search", "Keep"],
  [/^(?:group by|,) /, "group", "dashboard", "Group by"],
  [/^every /, "fill", "plus", "Fill in"],
  [/^give /, "give", "metric", "Give"],
  [/^having /, "having", "search", "Keep groups"],
  [/^order by /, "order", "down", "Order by"],
  [/^(?:at most|after passing over) /, "limit", "check", "Limit"],
];

/** Reads the plan's text, a clause a line, plans within plans indented by two. */
export function stagesOf(plan: string): Stage[] {
  const stages: Stage[] = [];
  const lines = plan.split("\n").filter((line) => line.trim() !== "");
  for (let at = 0; at < lines.length; at += 1) {
    const text = (lines[at] ?? "").trim();
    const found = KINDS.find(([pattern]) => pattern.test(text));
    const [, kind = "other", icon = "sql" as const, title = "Then"] = found ?? [];
    const within: string[] = [];
    // Only a source or a join has another plan below it; what goes on in a list is indented too.
    while ((kind === "source" || kind === "join") && (lines[at + 1] ?? "").startsWith("  ")) {
      at += 1;
      within.push((lines[at] ?? "").slice(2));
    }
    const line = text.replace(/^(?:where|and|group by|,|give|having|order by) /, "");
    const last = stages.at(-1);
    if (last !== undefined && last.kind === kind && within.length === 0 && kind !== "source" && kind !== "join")
      last.lines.push(line);
    else
      stages.push({ kind, icon, title, lines: [line], within: within.length === 0 ? [] : stagesOf(within.join("\n")) });
  }
  return stages;
}
