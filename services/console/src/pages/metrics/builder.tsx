import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type FormEvent, lazy, Suspense, useCallback, useMemo, useState } from "react";
import type { App } from "../../api/access";
import { type Fault, fault, faultOf, inText } from "../../api/fault";
import { tableOf } from "../../api/values";
import { TimeChart } from "../../charts/time";
import { Fill, Grain } from "../../gen/penstock/v1/query_pb";
import { useAnswer } from "../../lib/answer";
import type { Field } from "../../lib/fields";
import { withUnit } from "../../lib/format";
import { useSession } from "../../lib/session";
import { Button } from "../../ui/button";
import { Combobox } from "../../ui/combobox";
import { Input } from "../../ui/field";
import { PageHead, Panel } from "../../ui/panel";
import { Empty, Failed, Waiting, Wrong } from "../../ui/states";
import { Filters } from "../explore/filters";
import { overTime, parted } from "../explore/pivot";
import { Origin } from "../explore/result";
import type { Mistake } from "../sql/editor";
import { definitionOf, type MetricDraft, nameFrom } from "./draft";

const Editor = lazy(async () => ({ default: (await import("../sql/editor")).Editor }));

const DELAY_MS = 400;
const DAYS_30_MS = 2_592_000_000;
/** Checked under this name while it has none of its own. */
const UNNAMED = "unnamed";

interface Props {
  app: App;
  fields: readonly Field[];
  first: MetricDraft;
  /** Names of the app's metrics. */
  others: readonly string[];
  onClose(isKept: boolean): void;
}

interface Problem {
  readonly field: string;
  readonly message: string;
  readonly start: number;
  readonly end: number;
}

/** Checks a definition while it is written, and shows what it would say. */
export function Builder({ app, fields, first, others, onClose }: Props) {
  const { api } = useSession();
  const [draft, setDraft] = useState(first);
  const [split, setSplit] = useState("");
  const [refused, setRefused] = useState<Fault>();
  const change = (next: Partial<MetricDraft>) => setDraft((before) => ({ ...before, ...next }));
  const isNew = first.version === 0;
  const name = isNew ? draft.name || nameFrom(draft.displayName) : draft.name;
  const definition = useMemo(
    () => definitionOf({ ...draft, name: name || UNNAMED }, fields, app.zone),
    [draft, name, fields, app.zone],
  );
  const key = draft.formula.trim() === "" ? undefined : JSON.stringify({ ...draft, name });

  const checked = useAnswer(
    key,
    async (signal) => {
      const { problems } = await api.metrics.validateMetric({ appId: app.id, definition }, { signal });
      return problems.map(({ field, message, start, end }): Problem => ({ field, message, start, end }));
    },
    DELAY_MS,
  );
  const problems = draft.formula.trim() === "" ? [] : (checked.value ?? []);
  const isGood = key !== undefined && !checked.isWaiting && checked.fault === undefined && problems.length === 0;

  /** The editor asks for itself, so that what it underlines is never of another text. */
  const check = useCallback(
    async (formula: string, signal: AbortSignal): Promise<readonly Mistake[]> => {
      if (formula.trim() === "") return [];
      const asked = { name: UNNAMED, formula };
      const said = await api.metrics.validateMetric({ appId: app.id, definition: asked }, { signal });
      return said.problems
        .filter(({ field }) => field === "definition.formula")
        .map(({ start, end, message }) => {
          const span = end === 0 ? { start: 0, end: formula.length } : inText(formula, { start, end });
          return { from: span.start, to: span.end, message };
        });
    },
    [api, app.id],
  );

  const keep = async (event: FormEvent) => {
    event.preventDefault();
    if (name === "") return setRefused(fault("A metric needs a name that it is evaluated by."));
    try {
      const request = { appId: app.id, definition };
      if (isNew) await api.metrics.createMetric(request);
      else await api.metrics.updateMetric({ ...request, baseVersion: first.version });
      onClose(true);
    } catch (error) {
      setRefused(faultOf(error));
    }
  };
  const of = (field: string) => problems.find((problem) => problem.field === `definition.${field}`)?.message;
  const elsewhere = problems.filter(
    ({ field }) => !["formula", "name", "display_name", "unit"].some((known) => field === `definition.${known}`),
  );

  return (
    <form onSubmit={(event) => void keep(event)}>
      <PageHead
        title={isNew ? "New metric" : `Change ${first.displayName || first.name}`}
        about={isNew ? "It is checked as you write." : `It becomes version ${first.version + 1}; the ones before stay.`}
      >
        <Button onClick={() => onClose(false)}>Cancel</Button>
        <Button type="submit" kind="primary" disabled={!isGood || name === ""}>
          {isNew ? "Define" : "Save"}
        </Button>
      </PageHead>
      <Wrong text={refused?.message} />
      <div className="metric">
        <Panel>
          <div className="panel-body metric-form">
            <Input
              label="Title"
              placeholder="Revenue per user"
              value={draft.displayName}
              error={of("display_name")}
              onChange={(event) => change({ displayName: event.target.value })}
            />
            <div className="two">
              <Input
                label="Name"
                hint={isNew ? "What it is asked for by; it never changes." : undefined}
                error={of("name")}
                disabled={!isNew}
                placeholder={nameFrom(draft.displayName) || "revenue_per_user"}
                value={draft.name}
                onChange={(event) => change({ name: event.target.value })}
              />
              <Input
                label="Unit"
                placeholder="USD"
                error={of("unit")}
                value={draft.unit}
                onChange={(event) => change({ unit: event.target.value })}
              />
            </div>
            <div className="field">
              <span className="label">Formula</span>
              <div className="formula-box">
                <Suspense fallback={<Waiting what="Opening the editor" />}>
                  <Editor
                    label="Formula"
                    text={draft.formula}
                    fields={fields}
                    metrics={others.filter((other) => other !== name)}
                    check={check}
                    onChange={(formula) => change({ formula })}
                  />
                </Suspense>
              </div>
              <p className={of("formula") === undefined ? "hint" : "hint wrong"} role="status">
                {of("formula") ??
                  "As in SUM(purchase_amount) / COUNT(DISTINCT user_id); other metrics stand in braces, as in {revenue} / {buyers}."}
              </p>
            </div>
            <Input
              label="Description"
              value={draft.description}
              onChange={(event) => change({ description: event.target.value })}
            />
            <label className="check">
              <input
                type="checkbox"
                checked={draft.materialize}
                onChange={(event) => change({ materialize: event.target.checked })}
              />
              Keep its answers ready from the first time on
            </label>
          </div>
          <Filters
            appId={app.id}
            filters={draft.filters}
            fields={fields}
            fault={undefined}
            onChange={(filters) => change({ filters })}
          />
          {elsewhere.map(({ field, message }) => (
            <p key={field + message} className="notice wrong">
              {field.replace("definition.", "")}: {message}
            </p>
          ))}
        </Panel>
        <Panel
          title="Preview"
          actions={
            <Combobox
              label="Split by"
              value={split}
              placeholder="split by"
              choices={[{ value: "" }, ...fields.map(({ text, kind }) => ({ value: text, note: kind }))]}
              isFree
              onChange={setSplit}
            />
          }
        >
          {key === undefined ? (
            <Empty icon="metric" title="Nothing to preview yet">
              <p>Write a formula, and the last 30 days appear here.</p>
            </Empty>
          ) : checked.fault !== undefined && !checked.isWaiting ? (
            <Failed fault={checked.fault} again={checked.again} />
          ) : problems.length > 0 ? (
            <Empty icon="warn" title="Not a metric yet">
              <p>{problems[0]?.message}</p>
            </Empty>
          ) : isGood ? (
            <Preview app={app} draft={{ ...draft, name: name || UNNAMED }} fields={fields} split={split} />
          ) : (
            <Waiting what="Checking" />
          )}
        </Panel>
      </div>
    </form>
  );
}

function Preview({
  app,
  draft,
  fields,
  split,
}: {
  app: App;
  draft: MetricDraft;
  fields: readonly Field[];
  split: string;
}) {
  const { api } = useSession();
  const definition = definitionOf(draft, fields, app.zone);
  const evaluation = {
    range: { last: durationFromMs(DAYS_30_MS) },
    grain: Grain.DAY,
    fill: Fill.ZERO,
    totals: true,
    dimensions: split === "" ? [] : [{ expression: split }],
    ...(split === "" ? {} : { top: { n: 7, dimension: split, others: "" } }),
  };
  const answer = useAnswer(
    JSON.stringify([draft, split]),
    async (signal) =>
      (
        await api.metrics.previewMetric(
          { appId: app.id, definition, evaluation, options: { timeZone: app.zone } },
          { signal },
        )
      ).result,
  );
  const taken = useMemo(() => (answer.value === undefined ? undefined : parted(tableOf(answer.value))), [answer.value]);
  const names = useMemo(() => [draft.name], [draft.name]);
  const drawn = useMemo(
    () => (taken === undefined ? undefined : overTime(taken.rows, names, "day", app.zone)),
    [taken, names, app.zone],
  );
  if (answer.fault !== undefined && !answer.isWaiting) return <Failed fault={answer.fault} again={answer.again} />;
  if (taken === undefined || drawn === undefined) return <Waiting what="Evaluating" />;
  const place = taken.rows.columns.findIndex((column) => column.name === draft.name);
  const total = taken.totals?.[place];
  const unit = taken.rows.columns[place]?.unit ?? "";
  return (
    <>
      <dl className="totals">
        <div>
          <dt>{draft.displayName || draft.name}, last 30 days</dt>
          <dd>{typeof total === "number" ? withUnit(total, unit) : "–"}</dd>
        </div>
      </dl>
      <TimeChart data={drawn} drawing="line" label={`${draft.displayName || draft.name} by day`} height={260} />
      <Origin result={answer.value} zone={app.zone} />
    </>
  );
}
