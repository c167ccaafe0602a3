import { useState } from "react";
import type { App } from "../../api/access";
import { faultOf } from "../../api/fault";
import type { Metric } from "../../gen/penstock/v1/metrics_pb";
import { useAnswer } from "../../lib/answer";
import { useSchema } from "../../lib/schema";
import { useSession } from "../../lib/session";
import { Button } from "../../ui/button";
import { List as ListTable } from "../../ui/list";
import { PageHead, Panel } from "../../ui/panel";
import { Empty, Listed, Wrong } from "../../ui/states";
import { Builder } from "./builder";
import { draftOf, type MetricDraft, NEW } from "./draft";

/** Formulas with a name, to be asked for by it. */
export function Metrics({ app }: { app: App }) {
  const { api, may } = useSession();
  const schema = useSchema(app.id);
  const [edited, setEdited] = useState<MetricDraft>();
  const [problem, setProblem] = useState("");
  const metrics = useAnswer(
    app.id,
    async (signal) => (await api.metrics.listMetrics({ appId: app.id }, { signal })).metrics,
  );

  const remove = async (name: string) => {
    if (
      !window.confirm(
        `Delete the metric ${name} with all its versions? Metrics that name it can't be evaluated any more.`,
      )
    )
      return;
    try {
      await api.metrics.deleteMetric({ appId: app.id, name });
      setProblem("");
      metrics.again();
    } catch (error) {
      setProblem(faultOf(error).message);
    }
  };

  if (edited !== undefined) {
    return (
      <Builder
        app={app}
        fields={schema.value ?? []}
        first={edited}
        others={(metrics.value ?? []).flatMap((metric) => (metric.definition ? [metric.definition.name] : []))}
        onClose={(isKept) => {
          setEdited(undefined);
          if (isKept) metrics.again();
        }}
      />
    );
  }
  return (
    <>
      <PageHead
        title="Metrics"
        about="A formula with a name and filters: checked when it is defined, kept in versions, asked for by name from anywhere."
      >
        {may("metrics") && (
          <Button kind="primary" icon="plus" onClick={() => setEdited(NEW)}>
            New metric
          </Button>
        )}
      </PageHead>
      <Wrong text={problem} />
      <Panel>
        <Listed
          answer={metrics}
          empty={
            <Empty icon="metric" title="No metric yet">
              <p>
                {may("metrics")
                  ? "Define what your numbers mean once, and every dashboard, report and client counts the same."
                  : "This key may not define metrics. Sign in with one that has the metrics permission."}
              </p>
            </Empty>
          }
        >
          {(metrics) => (
            <List
              metrics={metrics}
              onEdit={(metric) => setEdited(draftOf(metric))}
              onRemove={(name) => void remove(name)}
            />
          )}
        </Listed>
      </Panel>
    </>
  );
}

function List({
  metrics,
  onEdit,
  onRemove,
}: {
  metrics: readonly Metric[];
  onEdit(metric: Metric): void;
  onRemove(name: string): void;
}) {
  const { may } = useSession();
  return (
    <ListTable label="Metrics">
      <thead>
        <tr>
          <th scope="col">Metric</th>
          <th scope="col">Formula</th>
          <th scope="col">Unit</th>
          <th scope="col">Version</th>
          <th scope="col">
            <span className="unseen">Actions</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {metrics.map((metric) => {
          const {
            name = "",
            displayName = "",
            description = "",
            formula = "",
            unit = "",
            filters = [],
          } = metric.definition ?? {};
          return (
            <tr key={name}>
              <th scope="row">
                <strong>{displayName || name}</strong>
                <code>{name}</code>
                {description !== "" && <p>{description}</p>}
              </th>
              <td>
                <code>{formula}</code>
                {filters.length > 0 && (
                  <small>
                    with {filters.length} {filters.length === 1 ? "filter" : "filters"}
                  </small>
                )}
              </td>
              <td>{unit || "–"}</td>
              <td>{metric.version}</td>
              <td className="actions">
                {may("metrics") && (
                  <>
                    <Button kind="quiet" icon="edit" aria-label={`Change ${name}`} onClick={() => onEdit(metric)} />
                    <Button kind="quiet" icon="trash" aria-label={`Delete ${name}`} onClick={() => onRemove(name)} />
                  </>
                )}
              </td>
            </tr>
          );
        })}
      </tbody>
    </ListTable>
  );
}
