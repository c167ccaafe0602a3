import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { useMemo, useState } from "react";
import type { App } from "../../api/access";
import type { Table } from "../../api/values";
import { TimeChart } from "../../charts/time";
import { Fill, Grain } from "../../gen/penstock/v1/query_pb";
import type { Field } from "../../lib/fields";
import type { Live as Followed, Question } from "../../lib/follow";
import { clock, glance, shown } from "../../lib/format";
import { useLive } from "../../lib/live";
import { useSchema } from "../../lib/schema";
import { FirstEvent } from "../../ui/brand";
import { Button } from "../../ui/button";
import { Chips } from "../../ui/chips";
import { Combobox } from "../../ui/combobox";
import { PageHead, Panel } from "../../ui/panel";
import { Empty, Failed, Waiting } from "../../ui/states";
import { overTime } from "../explore/pivot";
import { useValues } from "../explore/values";

const MOST = 100;
const FIXED = ["received_at", "event_type", "user_id", "country"];
const MINUTES_30_MS = 1_800_000;

/** Events as they arrive, the newest first. */
export function Live({ app }: { app: App }) {
  const schema = useSchema(app.id);
  const [type, setType] = useState("");
  const [columns, setColumns] = useState<readonly string[]>();
  const [isPaused, setPaused] = useState(false);
  const types = useValues(app.id, "event_type");
  const chosen = columns ?? firstColumns(schema.value);
  const where = type === "" ? "" : ` AND event_type = '${type.replaceAll("'", "''")}'`;
  const selected = [...FIXED, ...chosen].join(", ");
  const sql = `SELECT ${selected}, event_id FROM events WHERE received_at > now() - INTERVAL 1 HOUR${where} ORDER BY received_at DESC LIMIT ${MOST}`;
  const isReady = schema.value !== undefined && !isPaused;
  const events = useLive(isReady ? sql : undefined, { case: "sql", value: { sql, appId: app.id } }, app.zone);
  const rate = useLive(isReady ? `rate ${type}` : undefined, perMinute(app.id, type), app.zone);

  return (
    <>
      <PageHead title="Live" about={`Events of ${app.name} as they are stored, within seconds of their arrival.`}>
        <Pulse live={events} isPaused={isPaused} zone={app.zone} />
        <Button icon={isPaused ? "play" : "pause"} onClick={() => setPaused(!isPaused)}>
          {isPaused ? "Go on" : "Pause"}
        </Button>
      </PageHead>
      <Panel>
        <Rate live={rate} zone={app.zone} />
      </Panel>
      <Panel>
        <div className="toolbar live-tools">
          <Combobox
            label="Event type"
            value={type}
            placeholder="every event type"
            choices={(types.value ?? []).map(([value, n]) => ({ value, note: glance(n) }))}
            isFree
            onChange={setType}
          />
          {type !== "" && (
            <Button kind="quiet" icon="close" onClick={() => setType("")}>
              Every type
            </Button>
          )}
          <Columns chosen={chosen} fields={schema.value ?? []} onChange={setColumns} />
        </div>
        <Events live={events} fault={schema.fault} zone={app.zone} />
      </Panel>
    </>
  );
}

function perMinute(appId: string, type: string): Question {
  return {
    case: "query",
    value: {
      appId,
      measures: [{ name: "Events", formula: "COUNT(*)" }],
      range: { last: durationFromMs(MINUTES_30_MS) },
      grain: Grain.MINUTE,
      fill: Fill.ZERO,
      filters: type === "" ? [] : [{ field: "event_type", op: 1, values: [{ kind: { case: "string", value: type } }] }],
    },
  };
}

/** The properties to begin with: the first few that hold text or numbers. */
function firstColumns(fields: readonly Field[] | undefined): readonly string[] {
  return (fields ?? [])
    .filter((field) => field.isProperty)
    .slice(0, 4)
    .map((field) => field.text);
}

function Columns({
  chosen,
  fields,
  onChange,
}: {
  chosen: readonly string[];
  fields: readonly Field[];
  onChange(columns: readonly string[]): void;
}) {
  const choices = fields
    .filter(({ text }) => !FIXED.includes(text))
    .map(({ text, kind }) => ({ value: text, note: kind }));
  return (
    <Chips
      label="Add a column"
      values={chosen}
      choices={choices}
      placeholder="add a column"
      removing="Hide"
      onChange={onChange}
    />
  );
}

/** Whether it goes on, and up to when it is whole. */
export function Pulse({ live, isPaused, zone }: { live: Followed; isPaused: boolean; zone: string }) {
  const until = live.info?.watermark?.completeUntil;
  const word = isPaused
    ? "paused"
    : live.fault
      ? "ended"
      : live.behind !== ""
        ? "behind"
        : live.table
          ? "live"
          : "connecting";
  return (
    <span className={`pulse ${word}`} role="status" title={live.behind}>
      <i aria-hidden="true" />
      {word}
      {until && word === "live" && <small>whole until {clock(new Date(Number(until.seconds) * 1_000), zone)}</small>}
    </span>
  );
}

function Rate({ live, zone }: { live: Followed; zone: string }) {
  const data = useMemo(
    () => (live.table === undefined ? undefined : overTime(live.table, ["Events"], "minute", zone)),
    [live.table, zone],
  );
  if (live.fault !== undefined) return <Failed fault={live.fault} />;
  if (data === undefined) return <Waiting what="Listening" />;
  const sum = (data.series[0]?.values ?? []).reduce<number>((total, value) => total + (value ?? 0), 0);
  return (
    <div className="rate">
      <dl className="totals">
        <div>
          <dt>Events of the last 30 minutes</dt>
          <dd>{glance(sum)}</dd>
        </div>
      </dl>
      <TimeChart data={data} drawing="columns" label="Events by minute" height={120} />
    </div>
  );
}

function Events({ live, fault, zone }: { live: Followed; fault: Followed["fault"]; zone: string }) {
  const wrong = fault ?? live.fault;
  if (wrong !== undefined) return <Failed fault={wrong} />;
  if (live.table === undefined) return <Waiting what="Listening" />;
  if (live.table.rows.length === 0) {
    return (
      <Empty icon="live" title="No event in the last hour">
        <p>
          Send one and it appears here. <FirstEvent />
        </p>
      </Empty>
    );
  }
  return <EventTable table={live.table} zone={zone} />;
}

function EventTable({ table, zone }: { table: Table; zone: string }) {
  const id = table.columns.findIndex((column) => column.name === "event_id");
  const rows = [...table.rows].sort((a, b) => time(b[0]) - time(a[0]));
  const columns = table.columns.filter((_, c) => c !== id);
  return (
    <div className="data events">
      {/* A region that scrolls must be within the keyboard's reach. */}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: see above */}
      <section className="scroll" tabIndex={0} aria-label="Events">
        <table>
          <thead>
            <tr>
              {columns.map((column) => (
                <th key={column.name} scope="col">
                  {column.name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, r) => (
              // Without ids of their own, two events may be alike.
              // biome-ignore lint/suspicious/noArrayIndexKey: see above
              <tr key={`${row[id]} ${r}`}>
                {row.map((value, c) =>
                  c === id ? null : (
                    <td
                      key={table.columns[c]?.name}
                      className={value === null ? "null" : typeof value === "number" ? "number" : ""}
                    >
                      {value instanceof Date ? clock(value, zone) : shown(value, zone)}
                    </td>
                  ),
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </div>
  );
}

function time(value: unknown): number {
  return value instanceof Date ? value.getTime() : 0;
}
