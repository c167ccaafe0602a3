import { create } from "@bufbuild/protobuf";
import { type ReactNode, useState } from "react";
import type { App } from "../../api/access";
import { type Tile, TileMetricSchema, TileSchema } from "../../gen/penstock/v1/dashboards_pb";
import { type Evaluation, EvaluationSchema } from "../../gen/penstock/v1/metrics_pb";
import { DimensionSchema, Grain, SqlQuerySchema, TimeRangeSchema } from "../../gen/penstock/v1/query_pb";
import { useAnswer } from "../../lib/answer";
import type { Field } from "../../lib/fields";
import { useSession } from "../../lib/session";
import { Input, Select } from "../../ui/field";
import { DialogForm } from "../../ui/form";
import { Failed, Waiting } from "../../ui/states";
import type { View } from "../explore/draft";
import { nameOf, stepOf } from "../explore/reverse";
import { GRAINS, PERIODS, rangeOf } from "../explore/wire";
import { toView, viewOf } from "./store";

interface Props {
  app: App;
  fields: readonly Field[];
  tile: Tile;
  onDone(tile: Tile): void;
}

const VIEWS: readonly { value: View; label: string }[] = [
  { value: "table", label: "Table" },
  { value: "line", label: "Lines" },
  { value: "bar", label: "Bars" },
  { value: "share", label: "Shares" },
  { value: "map", label: "Map" },
];

/** What a tile asks: a SELECT, or a metric. It is tried before it is taken. */
export function Ask(props: Props) {
  return props.tile.question.case === "metric" ? <AskMetric {...props} /> : <AskSql {...props} />;
}

function AskSql({ app, tile, onDone }: Props) {
  const { api } = useSession();
  const [title, setTitle] = useState(tile.title);
  const [view, setView] = useState(viewOf(tile));
  const [sql, setSql] = useState(tile.question.case === "sql" ? tile.question.value.sql : "");
  const submit = async () => {
    await api.query.explain({ question: { case: "sql", value: { sql, appId: app.id } } });
    onDone(
      create(TileSchema, {
        ...tile,
        title,
        view: toView(view),
        question: { case: "sql", value: create(SqlQuerySchema, { sql }) },
      }),
    );
  };
  return (
    <Form title={title} onTitle={setTitle} view={view} onView={setView} isWhole={sql.trim() !== ""} onSubmit={submit}>
      <div className="field">
        <label htmlFor="tile-sql">SELECT</label>
        <textarea
          id="tile-sql"
          className="input mono"
          rows={8}
          spellCheck={false}
          value={sql}
          onChange={(event) => setSql(event.target.value)}
        />
      </div>
    </Form>
  );
}

function AskMetric({ app, fields, tile, onDone }: Props) {
  const { api } = useSession();
  const before = tile.question.case === "metric" ? tile.question.value : undefined;
  const [title, setTitle] = useState(tile.title);
  const [view, setView] = useState(viewOf(tile));
  const [name, setName] = useState(before?.name ?? "");
  const [evaluation, setEvaluation] = useState(before?.evaluation ?? create(EvaluationSchema));
  const metrics = useAnswer(app.id, async (signal) =>
    (await api.metrics.listMetrics({ appId: app.id }, { signal })).metrics.flatMap(
      ({ definition }) => definition ?? [],
    ),
  );
  if (metrics.fault !== undefined) return <Failed fault={metrics.fault} again={metrics.again} />;
  if (metrics.value === undefined) return <Waiting />;
  const change = (next: Partial<Evaluation>) => setEvaluation(create(EvaluationSchema, { ...evaluation, ...next }));
  const chosen = name || metrics.value[0]?.name || "";
  const range = evaluation.range === undefined ? "" : (nameOf(evaluation.range, app.zone) ?? "own");
  const submit = async () => {
    await api.metrics.evaluate({ appId: app.id, name: chosen, version: before?.version ?? 0, evaluation });
    const named = title.trim() || metrics.value?.find((one) => one.name === chosen)?.displayName || chosen;
    const value = create(TileMetricSchema, { name: chosen, version: before?.version ?? 0, evaluation });
    onDone(create(TileSchema, { ...tile, title: named, view: toView(view), question: { case: "metric", value } }));
  };
  return (
    <Form title={title} onTitle={setTitle} view={view} onView={setView} isWhole={chosen !== ""} onSubmit={submit}>
      <Select
        label="Metric"
        value={chosen}
        hint={metrics.value.length === 0 ? "There is none yet: define one on the page Metrics." : undefined}
        options={metrics.value.map((one) => ({ value: one.name, label: one.displayName || one.name }))}
        onChange={setName}
      />
      <Select
        label="Over time"
        value={stepOf(evaluation.grain) ?? "none"}
        options={[
          { value: "none", label: "Total" },
          ...(Object.keys(GRAINS) as (keyof typeof GRAINS)[]).map((step) => ({ value: step, label: `By ${step}` })),
        ]}
        onChange={(step) =>
          change({ grain: step === "none" ? Grain.UNSPECIFIED : GRAINS[step as keyof typeof GRAINS] })
        }
      />
      <Select
        label="For each"
        value={evaluation.dimensions[0]?.expression ?? ""}
        options={[
          { value: "", label: "All together" },
          ...fields.filter(({ kind }) => kind === "string").map(({ text }) => ({ value: text, label: text })),
        ]}
        onChange={(expression) =>
          setEvaluation(
            create(EvaluationSchema, {
              ...evaluation,
              dimensions: expression === "" ? [] : [create(DimensionSchema, { expression })],
            }),
          )
        }
      />
      <Select
        label="Range"
        value={range}
        options={[
          { value: "", label: "The dashboard's" },
          ...Object.entries(PERIODS).map(([value, { label }]) => ({ value, label })),
          ...(range === "" || range in PERIODS ? [] : [{ value: range, label: "As it is" }]),
        ]}
        onChange={(name) => {
          const { range: _, ...rest } = evaluation;
          const next = rangeOf(name, app.zone);
          setEvaluation(create(EvaluationSchema, next ? { ...rest, range: create(TimeRangeSchema, next) } : rest));
        }}
      />
    </Form>
  );
}

interface FormProps {
  title: string;
  onTitle(title: string): void;
  view: View;
  onView(view: View): void;
  isWhole: boolean;
  /** Throws why it isn't taken. */
  onSubmit(): Promise<void>;
  children: ReactNode;
}

function Form({ title, onTitle, view, onView, isWhole, onSubmit, children }: FormProps) {
  return (
    <DialogForm label="Put it in" isReady={isWhole} onSubmit={onSubmit}>
      <Input label="Title" value={title} onChange={(event) => onTitle(event.target.value)} />
      {children}
      <Select label="Shown as" value={view} options={VIEWS} onChange={onView} />
    </DialogForm>
  );
}
