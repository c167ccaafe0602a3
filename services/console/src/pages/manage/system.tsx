import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import type { GetHealthResponse, PartitionHealth } from "../../gen/penstock/v1/admin_pb";
import { useAnswerEvery } from "../../lib/answer";
import { brand } from "../../lib/brand";
import { ago, glance, milliseconds } from "../../lib/format";
import { useSession } from "../../lib/session";
import { List } from "../../ui/list";
import { PageHead, Panel } from "../../ui/panel";
import { Empty, Failed, Waiting } from "../../ui/states";
import { Replays } from "./replays";
import { EventLog } from "./topic";

/** How the installation is: for operators. */
export function System() {
  const { api } = useSession();
  const health = useAnswerEvery("health", (signal) => api.admin.getHealth({}, { signal }));
  return (
    <>
      <PageHead
        title="System"
        about="What serves, how its calls go, and how soon events can be asked for. Looks again every 5 s."
      />
      {health.fault !== undefined && <Failed fault={health.fault} again={health.again} />}
      {health.value === undefined && health.fault === undefined && <Waiting what="Asking the processes" />}
      {health.value !== undefined && <Health health={health.value} />}
      <EventLog />
      <Replays />
    </>
  );
}

function Health({ health }: { health: GetHealthResponse }) {
  const now = dateOf(health.at) ?? new Date();
  const behind = health.partitions.map((one) => behindMs(one, now)).filter((ms) => ms !== undefined);
  const lag = health.partitions.reduce((sum, one) => sum + Number(lagOf(one)), 0);
  const calls = health.processes.flatMap((process) => process.calls);
  const worst = calls.reduce((most, one) => Math.max(most, one.p99Seconds), 0);
  return (
    <>
      <Panel title="At a glance">
        <dl className="totals">
          {health.dependencies.map(({ name, answers, seconds, error }) => (
            <div key={name}>
              <dt>{NAMES[name] ?? name}</dt>
              <dd className={answers ? "up" : "down"} title={error}>
                {answers ? lasting(seconds) : "no answer"}
              </dd>
            </div>
          ))}
          <div>
            <dt>Records not yet stored</dt>
            <dd>{glance(lag)}</dd>
          </div>
          <div>
            <dt>Answers are behind by</dt>
            <dd>{behind.length === 0 ? "–" : lasting(Math.max(...behind) / 1_000)}</dd>
          </div>
          <div>
            <dt>Slowest service's P99</dt>
            <dd>{calls.length === 0 ? "–" : lasting(worst)}</dd>
          </div>
        </dl>
        {health.dependencies
          .filter((one) => !one.answers)
          .map(({ name, error }) => (
            <p key={name} role="alert">
              <b>{NAMES[name] ?? name}</b> doesn't answer: {error}.{" "}
              {!brand().isOwn && (
                <>
                  <code>penstock doctor</code> says what to do.
                </>
              )}
            </p>
          ))}
      </Panel>
      <Panel title="Processes">
        {health.processes.length === 0 ? (
          <Empty icon="health" title="No process was heard of within a minute">
            <p>Each says every 10 seconds that it is there, in the metastore.</p>
          </Empty>
        ) : (
          <List label="Processes">
            <thead>
              <tr>
                <th scope="col">Process</th>
                <th scope="col">Does</th>
                <th scope="col">Release</th>
                <th scope="col">Serves since</th>
                <th scope="col">Heard of</th>
              </tr>
            </thead>
            <tbody>
              {health.processes.map(({ name, roles, version, startedAt, seenAt }) => (
                <tr key={name}>
                  <th scope="row">
                    <code>{name}</code>
                  </th>
                  <td>{roles.join(", ")}</td>
                  <td>{version}</td>
                  <td>{since(startedAt, now)}</td>
                  <td>{since(seenAt, now)}</td>
                </tr>
              ))}
            </tbody>
          </List>
        )}
      </Panel>
      <Panel title="Calls of the last minute">
        {calls.length === 0 ? (
          <Empty icon="usage" title="No calls within a minute" />
        ) : (
          <List label="Calls">
            <thead>
              <tr>
                <th scope="col">Service</th>
                <th scope="col">By the gateway</th>
                <th scope="col">Calls</th>
                <th scope="col">Failed</th>
                <th scope="col">P50</th>
                <th scope="col">P99</th>
              </tr>
            </thead>
            <tbody>
              {health.processes.flatMap((process) =>
                process.calls.map((one) => (
                  <tr key={`${process.name} ${one.service}`}>
                    <th scope="row">{one.service}</th>
                    <td>
                      <code>{process.name}</code>
                    </td>
                    <td>{glance(Number(one.calls))}</td>
                    <td className={one.failed > 0n ? "down" : ""}>{glance(Number(one.failed))}</td>
                    <td>{lasting(one.p50Seconds)}</td>
                    <td>{lasting(one.p99Seconds)}</td>
                  </tr>
                )),
              )}
            </tbody>
          </List>
        )}
      </Panel>
      <Panel title="The event log's partitions">
        {health.partitions.length === 0 ? (
          <Empty icon="live" title="The log doesn't answer" />
        ) : (
          <List label="Partitions">
            <thead>
              <tr>
                <th scope="col">Partition</th>
                <th scope="col">Records</th>
                <th scope="col">Not yet stored</th>
                <th scope="col">Stored until</th>
                <th scope="col">By</th>
              </tr>
            </thead>
            <tbody>
              {health.partitions.map((one) => {
                const ms = behindMs(one, now);
                return (
                  <tr key={one.partition}>
                    <th scope="row">{one.partition}</th>
                    <td>{glance(Number(one.end))}</td>
                    <td>{glance(Number(lagOf(one)))}</td>
                    <td>{ms === undefined ? "–" : `${lasting(ms / 1_000)} ago`}</td>
                    <td>{one.held ? "stands still for a replay" : <code>{one.owner || "nobody yet"}</code>}</td>
                  </tr>
                );
              })}
            </tbody>
          </List>
        )}
      </Panel>
    </>
  );
}

const NAMES: Readonly<Record<string, string>> = { metastore: "Metastore", log: "Event log", warehouse: "Warehouse" };

function lagOf({ end, committed }: PartitionHealth): bigint {
  return end > committed ? end - committed : 0n;
}

/** How far questions are behind what the log has taken. */
function behindMs({ storedUntil }: PartitionHealth, now: Date): number | undefined {
  const until = dateOf(storedUntil);
  return until && Math.max(0, now.getTime() - until.getTime());
}

function dateOf(at: Timestamp | undefined): Date | undefined {
  return at && timestampDate(at);
}

function since(at: Timestamp | undefined, now: Date): string {
  const date = dateOf(at);
  return date === undefined ? "–" : ago(date, now);
}

function lasting(seconds: number): string {
  return milliseconds(seconds * 1_000_000);
}
