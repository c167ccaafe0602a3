import { useState } from "react";
import { instant } from "../../lib/format";
import { isZone, ZONES } from "../../lib/zone";
import { Button } from "../../ui/button";
import { Combobox } from "../../ui/combobox";
import { Select } from "../../ui/field";
import type { Draft, GrainDraft } from "./draft";
import { between, PERIODS, stepOf } from "./wire";

interface Props {
  draft: Draft;
  /** The zone that holds, and the app's own. */
  zone: string;
  appZone: string;
  onChange(change: Partial<Draft>): void;
}

const GRAIN_LABELS: readonly (readonly [GrainDraft, string])[] = [
  ["none", "Total"],
  ["minute", "By minute"],
  ["hour", "By hour"],
  ["day", "By day"],
  ["week", "By week"],
  ["month", "By month"],
  ["quarter", "By quarter"],
  ["year", "By year"],
];

export function Times({ draft, zone, appZone, onChange }: Props) {
  const isOwn = PERIODS[draft.range] === undefined;
  const ranges = Object.entries(PERIODS).map(([value, { label }]) => ({ value, label }));
  const auto = stepOf({ ...draft, grain: "auto" }, zone);
  const grains = [
    { value: "auto" as GrainDraft, label: auto === undefined ? "Auto (total)" : `Auto (${auto})` },
    ...GRAIN_LABELS.filter(([grain]) => grain !== "none" || (draft.view !== "line" && draft.view !== "share")).map(
      ([value, label]) => ({ value, label }),
    ),
  ];
  return (
    <div className="times">
      <Select
        label="Range"
        isBare
        value={isOwn ? "own" : draft.range}
        options={[...ranges, { value: "own", label: "Between…" }]}
        onChange={(range) => onChange({ range: range === "own" ? lastWeek(zone) : range })}
      />
      {isOwn && <Between range={draft.range} zone={zone} onChange={(range) => onChange({ range })} />}
      {draft.view !== "map" && (
        <Select label="Grain" isBare value={draft.grain} options={grains} onChange={(grain) => onChange({ grain })} />
      )}
      <Select
        label="Compare with"
        isBare
        value={draft.compare}
        options={[
          { value: "none", label: "No comparison" },
          { value: "previous", label: "vs. period before" },
          { value: "year", label: "vs. year before" },
        ]}
        onChange={(compare) => onChange({ compare })}
      />
      <Combobox
        label="Time zone"
        className="zone"
        value={zone}
        choices={ZONES.map((value) => (value === appZone ? { value, note: "the app's" } : { value }))}
        onChange={(chosen) => isZone(chosen) && onChange({ zone: chosen === appZone ? "" : chosen })}
      />
    </div>
  );
}

function Between({ range, zone, onChange }: { range: string; zone: string; onChange(range: string): void }) {
  const [from = "", to = ""] = range.split("/");
  const [draft, setDraft] = useState({ from, to });
  const next = `${draft.from}/${draft.to}`;
  const isWrong = between(next, zone) === undefined;
  const field = (end: "from" | "to") => (
    <input
      className="input"
      type="datetime-local"
      aria-label={end === "from" ? "From" : "To"}
      aria-invalid={isWrong || undefined}
      value={draft[end]}
      onChange={(event) => setDraft({ ...draft, [end]: event.target.value })}
    />
  );
  return (
    <span className="between">
      {field("from")}
      <span aria-hidden="true">–</span>
      {field("to")}
      {next !== range && (
        <Button
          disabled={isWrong}
          title={isWrong ? "The end must be after the beginning" : undefined}
          onClick={() => onChange(next)}
        >
          Apply
        </Button>
      )}
    </span>
  );
}

function lastWeek(zone: string): string {
  const now = Date.now();
  const text = (ms: number) => `${instant(new Date(ms), zone).slice(0, 10)}T00:00`;
  return `${text(now - 7 * 86_400_000)}/${text(now)}`;
}
