import type { Field } from "../../lib/fields";
import { glance } from "../../lib/format";
import { Button } from "../../ui/button";
import { Chips } from "../../ui/chips";
import { Combobox } from "../../ui/combobox";
import { useValues } from "./values";

/** The events that a key or a token lets through: those in which a property has one of some values. */
export interface Lock {
  readonly property: string;
  readonly values: readonly string[];
}

const NEW: Lock = { property: "", values: [] };
/** As many as a key has at most. */
const MOST = 8;

export function isLockWhole({ property, values }: Lock): boolean {
  return property !== "" && values.length > 0;
}

/** A key's filters, or a token's. */
export function Locks({
  appId,
  fields,
  locks,
  hint,
  onChange,
}: {
  appId: string;
  fields: readonly Field[];
  locks: readonly Lock[];
  hint: string;
  onChange(locks: readonly Lock[]): void;
}) {
  const isTaken = (name: string) => locks.some(({ property }) => property === name);
  return (
    <fieldset className="checks">
      <legend>Locked filters</legend>
      {locks.map((lock, at) => (
        // Filters are told apart by their place alone.
        // biome-ignore lint/suspicious/noArrayIndexKey: see above
        <div key={at} className="build-item">
          <Row
            appId={appId}
            fields={fields.filter(({ name }) => name === lock.property || !isTaken(name))}
            lock={lock}
            place={at + 1}
            onChange={(next) => {
              if (next.property === lock.property || !isTaken(next.property))
                onChange(locks.map((one, i) => (i === at ? next : one)));
            }}
            onRemove={() => onChange(locks.filter((_, i) => i !== at))}
          />
        </div>
      ))}
      {locks.length < MOST && (
        <div>
          <Button kind="quiet" icon="plus" onClick={() => onChange([...locks, NEW])}>
            Add filter
          </Button>
        </div>
      )}
      <p className="hint">{hint}</p>
    </fieldset>
  );
}

function Row({
  appId,
  fields,
  lock,
  place,
  onChange,
  onRemove,
}: {
  appId: string;
  fields: readonly Field[];
  lock: Lock;
  place: number;
  onChange(lock: Lock): void;
  onRemove(): void;
}) {
  // Values are compared as text; times are compared by ranges alone.
  const names = new Map(fields.filter(({ kind }) => kind !== "time").map(({ name, kind }) => [name, kind]));
  const text = fields.find(({ name, kind }) => name === lock.property && kind === "string")?.text;
  const values = useValues(appId, text);
  return (
    <>
      <div className="build-row">
        <Combobox
          label={`Property of filter ${place}`}
          value={lock.property}
          placeholder="field or property"
          choices={[...names].map(([value, note]) => ({ value, note }))}
          isFree
          onChange={(property) => onChange({ property, values: [] })}
        />
        <Button kind="quiet" icon="close" aria-label={`Remove filter ${place}`} onClick={onRemove} />
      </div>
      {lock.property !== "" && (
        <Chips
          label={`Values of filter ${place}`}
          values={lock.values}
          choices={(values.value ?? []).map(([value, count]) => ({ value, note: glance(count) }))}
          placeholder="add a value"
          isFree
          onChange={(values) => onChange({ ...lock, values })}
        />
      )}
    </>
  );
}
