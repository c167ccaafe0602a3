import type { Fault } from "../../api/fault";
import type { Field } from "../../lib/fields";
import { shown } from "../../lib/format";
import { Button } from "../../ui/button";
import { Chips } from "../../ui/chips";
import { Combobox } from "../../ui/combobox";
import { Select } from "../../ui/field";
import type { FilterDraft, Op } from "./draft";
import { useValues } from "./values";
import { isFilterWhole, OPS } from "./wire";

interface Props {
  appId: string;
  filters: readonly FilterDraft[];
  fields: readonly Field[];
  fault: Fault | undefined;
  onChange(filters: readonly FilterDraft[]): void;
}

const NEW: FilterDraft = { field: "", op: "eq", values: [] };

export function Filters({ appId, filters, fields, fault, onChange }: Props) {
  const set = (at: number, change: Partial<FilterDraft>) =>
    onChange(filters.map((filter, f) => (f === at ? { ...filter, ...change } : filter)));
  // What the server calls filter 0 is the first of those that were sent.
  const sent = filters.map((_, f) => f).filter((f) => filters[f] !== undefined && isFilterWhole(filters[f]));
  return (
    <fieldset className="build">
      <legend>Filters</legend>
      {filters.map((filter, f) => {
        const wrong = fault?.violations.find(
          ({ field }) => sent.includes(f) && field.startsWith(`query.filters[${sent.indexOf(f)}]`),
        );
        return (
          // Filters are told apart by their place alone.
          // biome-ignore lint/suspicious/noArrayIndexKey: see above
          <div key={f} className="build-item">
            <FilterRow
              appId={appId}
              filter={filter}
              fields={fields}
              place={f + 1}
              onChange={(change) => set(f, change)}
              onRemove={() => onChange(filters.filter((_, at) => at !== f))}
            />
            {wrong !== undefined && (
              <div className="formula-fault" role="alert">
                <p>{wrong.description}</p>
              </div>
            )}
          </div>
        );
      })}
      <Button kind="quiet" icon="plus" onClick={() => onChange([...filters, NEW])}>
        Add filter
      </Button>
    </fieldset>
  );
}

interface RowProps {
  appId: string;
  filter: FilterDraft;
  fields: readonly Field[];
  place: number;
  onChange(change: Partial<FilterDraft>): void;
  onRemove(): void;
}

function FilterRow({ appId, filter, fields, place, onChange, onRemove }: RowProps) {
  const kind = fields.find((field) => field.text === filter.field)?.kind ?? "string";
  const ops = (Object.keys(OPS) as Op[]).filter((op) => OPS[op].kinds.includes(kind));
  const takes = OPS[filter.op].takes;
  return (
    <>
      <div className="build-row">
        <Combobox
          label={`Field of filter ${place}`}
          value={filter.field}
          placeholder="field"
          choices={fields.map((field) => ({ value: field.text, note: field.kind }))}
          onChange={(field) => {
            const next = fields.find((known) => known.text === field)?.kind ?? "string";
            onChange({ field, values: [], op: OPS[filter.op].kinds.includes(next) ? filter.op : "eq" });
          }}
        />
        <Select
          label={`Comparison of filter ${place}`}
          isBare
          value={filter.op}
          options={ops.map((op) => ({ value: op, label: OPS[op].label }))}
          onChange={(op) =>
            onChange({ op, values: OPS[op].takes === "many" ? filter.values : filter.values.slice(0, 1) })
          }
        />
        <Button kind="quiet" icon="close" aria-label={`Remove filter ${place}`} onClick={onRemove} />
      </div>
      {takes !== "none" && filter.field !== "" && (
        <Values
          appId={appId}
          filter={filter}
          kind={kind}
          isMany={takes === "many"}
          place={place}
          onChange={(values) => onChange({ values })}
        />
      )}
    </>
  );
}

interface ValuesProps {
  appId: string;
  filter: FilterDraft;
  kind: Field["kind"];
  isMany: boolean;
  place: number;
  onChange(values: readonly string[]): void;
}

function Values({ appId, filter, kind, isMany, place, onChange }: ValuesProps) {
  const values = useValues(appId, kind === "string" ? filter.field : undefined);
  const label = `Value of filter ${place}`;
  if (kind === "bool") {
    const options = ["", "true", "false"].map((value) => ({ value, label: value || "choose" }));
    return (
      <Select
        label={label}
        isBare
        value={filter.values[0] ?? ""}
        options={options}
        onChange={(value) => onChange([value])}
      />
    );
  }
  const choices = (values.value ?? []).map(([value, count]) => ({ value, note: shown(count, "UTC") }));
  const placeholder = kind === "time" ? "2026-01-31 00:00" : "value";
  if (!isMany) {
    return (
      <Combobox
        label={label}
        value={filter.values[0] ?? ""}
        choices={choices}
        placeholder={placeholder}
        isFree
        onChange={(value) => onChange([value])}
      />
    );
  }
  return (
    <Chips
      label={label}
      values={filter.values}
      choices={choices}
      placeholder="add a value"
      isFree
      onChange={onChange}
    />
  );
}
