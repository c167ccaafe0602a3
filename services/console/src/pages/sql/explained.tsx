import { ROUTES } from "../../api/values";
import type { Cost } from "../../gen/penstock/v1/common_pb";
import type { ExplainResponse } from "../../gen/penstock/v1/query_pb";
import { bytes, glance, milliseconds } from "../../lib/format";
import { Icon } from "../../ui/icon";
import { type Stage, stagesOf } from "./stages";

/** How a question would be answered: what flows from where, which way, and the warehouse's own SQL. */
export function Explained({ plan }: { plan: ExplainResponse }) {
  const [, ...reasons] = plan.routeReason.split("; ");
  const [taken = plan.routeReason] = plan.routeReason.split("; ");
  return (
    <div className="explained">
      <section aria-label="Plan">
        <h2>Plan</h2>
        <Flow stages={stagesOf(plan.plan)} />
      </section>
      <section className="explained-side" aria-label="Route and cost">
        <h2>Route</h2>
        <p className="route">
          <strong>{ROUTES[plan.route]}</strong>
          <span>{taken.replace(/^\w+: /, "")}</span>
        </p>
        {reasons.length > 0 && (
          <ul className="reasons">
            {reasons.map((reason) => (
              <li key={reason}>{reason}</li>
            ))}
          </ul>
        )}
        <h2>Expected to read</h2>
        <p>{readOf(plan.estimatedRows, plan.estimatedBytes)}</p>
        {plan.actual && <Actual cost={plan.actual} cpuUs={Number(plan.actualCpuUs)} route={ROUTES[plan.actualRoute]} />}
        <h2>Warehouse SQL</h2>
        {/* A region that scrolls must be within the keyboard's reach. */}
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: see above */}
        <pre tabIndex={0}>{plan.sql}</pre>
        <dl className="parameters">
          {Object.entries(plan.parameters).map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      </section>
    </div>
  );
}

function Actual({ cost, cpuUs, route }: { cost: Cost; cpuUs: number; route: string }) {
  return (
    <>
      <h2>Took</h2>
      <p>
        {milliseconds(Number(cost.elapsedUs))}, from {route}; it read {readOf(cost.readRows, cost.readBytes)}
        {cpuUs > 0 && ` in ${milliseconds(cpuUs)} of CPU`}
      </p>
    </>
  );
}

function readOf(rows: bigint, size: bigint): string {
  return `${glance(Number(rows))} rows, ${bytes(Number(size))}`;
}

function Flow({ stages }: { stages: readonly Stage[] }) {
  return (
    <ol className="flow">
      {stages.map((stage, s) => (
        // A plan's stages have no names of their own.
        // biome-ignore lint/suspicious/noArrayIndexKey: see above
        <li key={s} className={`stage ${stage.kind}`}>
          <Icon name={stage.icon} />
          <div>
            <strong>{stage.title}</strong>
            {stage.lines.map((line) => (
              <code key={line}>{line}</code>
            ))}
            {stage.within.length > 0 && <Flow stages={stage.within} />}
          </div>
        </li>
      ))}
    </ol>
  );
}
