import { timestampDate } from "@bufbuild/protobuf/wkt";
import { useMemo } from "react";
import type { OverTime } from "../../charts/series";
import { TimeChart } from "../../charts/time";
import type { GetUsageResponse, Usage } from "../../gen/penstock/v1/admin_pb";
import { useAnswer } from "../../lib/answer";
import { bucket, bytes, glance, milliseconds } from "../../lib/format";
import { useSession } from "../../lib/session";
import { List } from "../../ui/list";
import { Panel } from "../../ui/panel";
import { Empty, Failed, Waiting } from "../../ui/states";

/** What a tenant used day by day, or without one what each did, and what that costs where prices are set. */
export function Used({ tenantId }: { tenantId: string | undefined }) {
  const { api } = useSession();
  const used = useAnswer(`used ${tenantId ?? ""}`, (signal) =>
    api.admin.getUsage({ tenantId: tenantId ?? "" }, { signal }),
  );
  return (
    <Panel title={`Used in the last ${DAYS} days`}>
      {used.fault !== undefined && <Failed fault={used.fault} again={used.again} />}
      {used.value === undefined && used.fault === undefined && <Waiting />}
      {used.value?.usage.length === 0 && (
        <Empty icon="usage" title="Nothing yet">
          <p>What is used is told once a minute.</p>
        </Empty>
      )}
      {used.value !== undefined && used.value.usage.length > 0 && (
        <>
          {tenantId !== undefined && <Days usage={used.value.usage} />}
          <Amounts {...used.value} isByDay={tenantId !== undefined} />
        </>
      )}
    </Panel>
  );
}

const DAY_MS = 86_400_000;
/** As many as the server tells of unless it is asked for others. */
const DAYS = 30;

function Days({ usage }: Pick<GetUsageResponse, "usage">) {
  const data = useMemo((): OverTime => {
    const today = Math.floor(Date.now() / DAY_MS) * DAY_MS;
    const times = Array.from({ length: DAYS }, (_, i) => today - (DAYS - 1 - i) * DAY_MS);
    const events = new Map(usage.map((one) => [one.day ? timestampDate(one.day).getTime() : 0, Number(one.events)]));
    const values = times.map((time) => events.get(time) ?? 0);
    return { times, series: [{ name: "Events", unit: "", values, colour: 0 }], step: "day", zone: "UTC" };
  }, [usage]);
  return <TimeChart data={data} drawing="columns" label="Events taken by UTC day" height={160} />;
}

const COLUMNS: readonly [string, (one: Usage) => string][] = [
  ["Events", (one) => glance(Number(one.events))],
  ["Calls", (one) => glance(Number(one.calls))],
  ["In", (one) => bytes(Number(one.bytesIn))],
  ["Out", (one) => bytes(Number(one.bytesOut))],
  ["Questions", (one) => glance(Number(one.queries))],
  ["Read", (one) => bytes(Number(one.readBytes))],
  ["Roles", (one) => milliseconds(one.roleSeconds * 1_000_000)],
  ["Warehouse", (one) => milliseconds(one.warehouseSeconds * 1_000_000)],
];

interface Props extends Pick<GetUsageResponse, "usage" | "currency"> {
  isByDay: boolean;
}

function Amounts({ usage, currency, isByDay }: Props) {
  const money = (amount: number) =>
    amount.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: amount < 1 ? 4 : 2 });
  const cost = usage.reduce((sum, one) => sum + one.cost, 0);
  return (
    <>
      <List label="Used">
        <thead>
          <tr>
            <th scope="col">{isByDay ? "UTC day" : "Tenant"}</th>
            {COLUMNS.map(([name]) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
            {currency !== "" && <th scope="col">{currency}</th>}
          </tr>
        </thead>
        <tbody>
          {usage.map((one) => (
            <tr key={`${one.tenantId} ${one.day?.seconds ?? ""}`}>
              <th scope="row">
                {one.day ? bucket(timestampDate(one.day), "day", "UTC") : <code>{one.tenantId}</code>}
              </th>
              {COLUMNS.map(([name, shown]) => (
                <td key={name}>{shown(one)}</td>
              ))}
              {currency !== "" && <td>{money(one.cost)}</td>}
            </tr>
          ))}
        </tbody>
      </List>
      {currency !== "" && (
        <p className="origin">
          {money(cost)} {currency} in all, by the installation's prices.
        </p>
      )}
    </>
  );
}
