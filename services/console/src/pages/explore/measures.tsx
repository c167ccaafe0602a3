import type { Fault } from "../../api/fault";
import { inText } from "../../api/fault";
import { colourName } from "../../charts/palette";
import type { Field } from "../../lib/fields";
import { Button } from "../../ui/button";
import { Combobox } from "../../ui/combobox";
import { Select } from "../../ui/field";
import { Underlined } from "../../ui/states";
import { COUNT, type MeasureDraft, type Sort } from "./draft";
import { formulaOf, SORTS } from "./wire";

interface Props {
  measures: readonly MeasureDraft[];
  fields: readonly Field[];
  fault: Fault | undefined;
  onChange(measures: readonly MeasureDraft[]): void;
}

const MOST = 6;
const CHOICES = (Object.keys(SORTS) as Sort[]).map((sort) => ({ value: sort, label: SORTS[sort].label }));

export function Measures({ measures, fields, fault, onChange }: Props) {
  const set = (at: number, change: Partial<MeasureDraft>) =>
    onChange(measures.map((measure, m) => (m === at ? { ...measure, ...change } : measure)));
  return (
    <fieldset className="build">
      <legend>Measures</legend>
      {measures.map((measure, m) => {
        const wrong = fault?.violations.find(({ field }) => field.startsWith(`query.measures[${m}]`));
        return (
          // Measures are told apart by their place alone.
          // biome-ignore lint/suspicious/noArrayIndexKey: see above
          <div key={m} className="build-item">
            <div className="build-row">
              <i className="swatch" style={{ color: `var(${colourName(m)})` }} />
              <Select
                label={`Measure ${m + 1}`}
                isBare
                value={measure.sort}
                options={CHOICES}
                onChange={(sort) => set(m, { sort })}
              />
              {SORTS[measure.sort].of !== undefined && (
                <Combobox
                  label={`Property of measure ${m + 1}`}
                  value={measure.field}
                  placeholder="property"
                  choices={fields
                    .filter(({ kind }) => SORTS[measure.sort].of === "any" || kind === "number")
                    .map(({ text, kind }) => ({ value: text, note: kind }))}
                  onChange={(field) => set(m, { field })}
                />
              )}
              {measures.length > 1 && (
                <Button
                  kind="quiet"
                  icon="close"
                  aria-label={`Remove measure ${m + 1}`}
                  onClick={() => onChange(measures.filter((_, at) => at !== m))}
                />
              )}
            </div>
            {measure.sort === "formula" && (
              <input
                className="input mono"
                aria-label={`Formula of measure ${m + 1}`}
                aria-invalid={wrong !== undefined || undefined}
                aria-describedby={wrong === undefined ? undefined : `measure-${m}-wrong`}
                placeholder="SUM(purchase_amount) / COUNT(DISTINCT user_id)"
                spellCheck={false}
                autoComplete="off"
                value={measure.formula}
                onChange={(event) => set(m, { formula: event.target.value })}
              />
            )}
            {wrong !== undefined && fault !== undefined && (
              <FormulaFault
                id={`measure-${m}-wrong`}
                text={formulaOf(measure)}
                message={wrong.description}
                fault={fault}
              />
            )}
          </div>
        );
      })}
      {measures.length < MOST && (
        <Button kind="quiet" icon="plus" onClick={() => onChange([...measures, COUNT])}>
          Add measure
        </Button>
      )}
    </fieldset>
  );
}

/** What is wrong with a formula, where, and what would be right. */
export function FormulaFault({
  id,
  text,
  message,
  fault,
}: {
  id: string;
  text: string;
  message: string;
  fault: Pick<Fault, "span">;
}) {
  const span = fault.span && inText(text, fault.span);
  return (
    <div className="formula-fault" id={id} role="alert">
      {span !== undefined && text !== "" && <Underlined text={text} start={span.start} end={span.end} />}
      <p>{span === undefined ? message : message.replace(/^line \d+, column \d+: /, "")}</p>
    </div>
  );
}
