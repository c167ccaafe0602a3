import { toJsonString } from "@bufbuild/protobuf";
import { useCallback, useMemo } from "react";
import type { App } from "../../api/access";
import { TypedQuerySchema } from "../../gen/penstock/v1/query_pb";
import { useAnswer } from "../../lib/answer";
import { go, usePlace } from "../../lib/route";
import { useSchema } from "../../lib/schema";
import { useSession } from "../../lib/session";
import { Button, Segments } from "../../ui/button";
import { Combobox } from "../../ui/combobox";
import { Copy } from "../../ui/copy";
import { Select } from "../../ui/field";
import { PageHead, Panel } from "../../ui/panel";
import { Empty } from "../../ui/states";
import { AddToDashboard } from "./add";
import { type Draft, fromText, toText, type View } from "./draft";
import { Filters } from "./filters";
import { Measures } from "./measures";
import { ResultView } from "./result";
import { Times } from "./times";
import { namesOf, queryOf, stepOf } from "./wire";

const VIEWS = [
  { value: "line", label: "Line", icon: "line" },
  { value: "bar", label: "Bar", icon: "bar" },
  { value: "share", label: "Share", icon: "percent" },
  { value: "map", label: "Map", icon: "world" },
  { value: "table", label: "Table", icon: "table" },
] as const;

/** Long enough not to ask at every letter, short enough not to be felt. */
const DELAY_MS = 250;

/** Dimensions of a question. */
const MOST = 3;

export function Explore({ app }: { app: App }) {
  const { api } = useSession();
  const { params } = usePlace();
  const text = params.get("q");
  const draft = useMemo(() => fromText(text), [text]);
  const change = useCallback(
    (next: Partial<Draft>) => go("explore", { app: app.id, q: toText({ ...draft, ...next }) }, "replace"),
    [app.id, draft],
  );
  const schema = useSchema(app.id);
  const fields = schema.value ?? [];
  const zone = draft.zone || app.zone;
  const query = useMemo(
    () => (schema.value === undefined ? undefined : queryOf(draft, app.id, schema.value, zone)),
    [draft, app.id, schema.value, zone],
  );
  const key = query && `${zone} ${toJsonString(TypedQuerySchema, query)}`;
  const step = stepOf(draft, zone);
  const names = useMemo(() => namesOf(draft.measures), [draft.measures]);

  // An answer is shown as what it was asked for, until the next one is there.
  const shape = { names, step, view: draft.view, zone };
  const answer = useAnswer(
    key,
    async (signal) => ({
      result: (await api.query.query({ query, options: { timeZone: zone } }, { signal })).result,
      shape,
    }),
    DELAY_MS,
  );
  const was = answer.value?.shape ?? shape;
  const isMap = (view: View) => view === "map";
  const isSame = was.step === step && was.names.join() === names.join() && isMap(was.view) === isMap(draft.view);

  return (
    <>
      <PageHead
        title="Explorer"
        about={`Ask about the events of ${app.name}. The address has the whole question: send it to whoever should see it.`}
      >
        {query !== undefined && <AddToDashboard app={app} draft={draft} fields={fields} />}
        <Copy label="Copy link" text={() => window.location.href} />
      </PageHead>
      <div className="explore">
        <Panel className="builder">
          <Measures
            measures={draft.measures}
            fields={fields}
            fault={answer.isWaiting ? undefined : answer.fault}
            onChange={(measures) => change({ measures })}
          />
          <GroupBy
            draft={draft}
            choices={fields.map(({ text: value, kind }) => ({ value, note: kind }))}
            onChange={change}
          />
          <Filters
            appId={app.id}
            filters={draft.filters}
            fields={fields}
            fault={answer.isWaiting ? undefined : answer.fault}
            onChange={(filters) => change({ filters })}
          />
        </Panel>
        <Panel className="answer">
          <div className="toolbar">
            <Times draft={draft} zone={zone} appZone={app.zone} onChange={change} />
            <Segments<View>
              label="Show as"
              value={draft.view}
              options={VIEWS}
              onChange={(view) => change(view === "map" ? { view, by: byCountryFirst(draft.by) } : { view })}
            />
          </div>
          {query === undefined && schema.value !== undefined ? (
            <Empty title="The question isn't complete yet">
              <p>Choose the property that a measure is about, or write its formula.</p>
            </Empty>
          ) : (
            <ResultView
              result={answer.value?.result}
              fault={schema.fault ?? answer.fault}
              isWaiting={answer.isWaiting || schema.isWaiting}
              again={schema.fault ? schema.again : answer.again}
              names={was.names}
              step={was.step}
              zone={was.zone}
              view={isSame ? draft.view : was.view}
              label={`${was.names.join(", ")} of ${app.name}`}
            />
          )}
        </Panel>
      </div>
    </>
  );
}

/** A map shows the first dimension. */
function byCountryFirst(by: readonly string[]): readonly string[] {
  const field = by.find((one) => /country/i.test(one)) ?? "country";
  return [field, ...by.filter((one) => one !== field && one !== "")].slice(0, MOST);
}

function GroupBy({
  draft,
  choices,
  onChange,
}: {
  draft: Draft;
  choices: { value: string; note: string }[];
  onChange(change: Partial<Draft>): void;
}) {
  const set = (at: number, value: string) => onChange({ by: draft.by.map((field, d) => (d === at ? value : field)) });
  return (
    <fieldset className="build">
      <legend>Group by</legend>
      {draft.by.map((field, d) => (
        // Dimensions are told apart by their place alone.
        // biome-ignore lint/suspicious/noArrayIndexKey: see above
        <div key={d} className="build-item">
          <div className="build-row">
            <Combobox
              label={`Dimension ${d + 1}`}
              value={field}
              choices={choices}
              placeholder="field or expression"
              isFree
              onChange={(value) => set(d, value)}
            />
            <Button
              kind="quiet"
              icon="close"
              aria-label={`Remove dimension ${d + 1}`}
              onClick={() => onChange({ by: draft.by.filter((_, at) => at !== d) })}
            />
          </div>
        </div>
      ))}
      {draft.view === "map" && (
        <p className="hint">
          A map shows the first dimension: country codes (ISO 3166-1) or English names. The other views show all.
        </p>
      )}
      {draft.by.length > 0 && draft.view !== "map" && (
        <Select
          label="Groups shown"
          isBare
          value={String(draft.top)}
          options={["5", "8", "12", "20", "0"].map((value) => ({
            value,
            label: value === "0" ? "All groups" : `The greatest ${value}`,
          }))}
          onChange={(top) => onChange({ top: Number(top) })}
        />
      )}
      {draft.by.length < MOST && (
        <Button kind="quiet" icon="plus" onClick={() => onChange({ by: [...draft.by, ""] })}>
          Add dimension
        </Button>
      )}
    </fieldset>
  );
}
