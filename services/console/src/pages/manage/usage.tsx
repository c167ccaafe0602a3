import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { useMemo } from "react";
import type { App } from "../../api/access";
import type { OverTime } from "../../charts/series";
import { TimeChart } from "../../charts/time";
import type { ReconcileResponse } from "../../gen/penstock/v1/admin_pb";
import { useAnswer } from "../../lib/answer";
import { brand } from "../../lib/brand";
import { glance, instant } from "../../lib/format";
import { useSession } from "../../lib/session";
import { FirstEvent } from "../../ui/brand";
import { Button } from "../../ui/button";
import { PageHead, Panel } from "../../ui/panel";
import { Empty, Failed, Waiting } from "../../ui/states";
import { LIMITS, limitOf } from "./limits";
import { daysOf } from "./settings";
import { Used } from "./used";

const DAY_MS = 86_400_000;

/** What came in, whether all of it is accounted for, and what may come. */
export function Usage({ app }: { app: App }) {
  const { access, api } = useSession();
  const account = useAnswer(app.id, async (signal) => {
    const now = Date.now();
    const range = { from: timestampFromMs(now - DAY_MS), to: timestampFromMs(now) };
    return api.admin.reconcile({ appId: app.id, ...range }, { signal });
  });
  const limits = useAnswer(app.id, async (signal) => {
    const { effective } = await api.admin.getSettings({ tenantId: access.tenant, appId: app.id }, { signal });
    return effective;
  });
  return (
    <>
      <PageHead
        title="Usage and health"
        about={`What ${app.name} took in the last 24 hours, held against the event log offset by offset.`}
      >
        <Button disabled={account.isWaiting} onClick={account.again}>
          {account.isWaiting ? "Counting…" : "Count again"}
        </Button>
      </PageHead>
      <Panel title="Every event accounted for">
        {account.fault !== undefined && !account.isWaiting && <Failed fault={account.fault} again={account.again} />}
        {account.value === undefined && account.fault === undefined && <Waiting what="Comparing log and warehouse" />}
        {account.value !== undefined && <Account account={account.value} zone={app.zone} />}
      </Panel>
      <Used tenantId={access.tenant} />
      <Panel title="Limits">
        {limits.fault !== undefined && <Failed fault={limits.fault} again={limits.again} />}
        {limits.value === undefined && limits.fault === undefined && <Waiting />}
        {limits.value !== undefined && (
          <dl className="facts">
            {LIMITS.map((limit) => (
              <div key={limit.rate}>
                <dt>{limit.label}</dt>
                <dd>{limitOf(limits.value?.quota, limit)}</dd>
              </div>
            ))}
            <div>
              <dt>Events are kept</dt>
              <dd>{daysOf(limits.value)}</dd>
            </div>
          </dl>
        )}
      </Panel>
    </>
  );
}

const COUNTS = [
  ["accepted", "Taken"],
  ["stored", "Counted"],
  ["duplicates", "Duplicates"],
  ["deadLetters", "Too old, kept aside"],
  ["erased", "Erased"],
  ["missing", "Missing"],
] as const;

function Account({ account, zone }: { account: ReconcileResponse; zone: string }) {
  const sums = COUNTS.map(([field, label]) => ({
    field,
    label,
    sum: account.hours.reduce((sum, hour) => sum + Number(hour[field]), 0),
  }));
  const isWhole = account.differences.length === 0;
  const data = useMemo(
    (): OverTime => ({
      times: account.hours.map((hour) => (hour.start ? timestampDate(hour.start).getTime() : 0)),
      series: [
        { name: "Counted", unit: "", values: account.hours.map((hour) => Number(hour.stored)), colour: 0 },
        { name: "Duplicates", unit: "", values: account.hours.map((hour) => Number(hour.duplicates)), colour: 1 },
        { name: "Kept aside", unit: "", values: account.hours.map((hour) => Number(hour.deadLetters)), colour: 3 },
      ],
      step: "hour",
      zone,
    }),
    [account, zone],
  );
  if (sums[0]?.sum === 0) {
    return (
      <Empty icon="usage" title="No event in the last 24 hours">
        <p>
          Send one and it is counted here. <FirstEvent />
        </p>
      </Empty>
    );
  }
  return (
    <>
      <dl className="totals">
        {sums.map(({ field, label, sum }) => (
          <div key={field}>
            <dt>{label}</dt>
            <dd>{glance(sum)}</dd>
          </div>
        ))}
      </dl>
      <TimeChart data={data} drawing="columns" label="Events by the hour they were received in" height={200} />
      <p className="origin">
        <b className={isWhole ? "up" : "down"}>
          {isWhole
            ? "Log and warehouse agree"
            : `They differ in ${account.differences.length} places: ${brand().isOwn ? "an operator mends that by a replay" : "see penstock replay"}`}
        </b>
        {account.settledUntil && ` · settled until ${instant(timestampDate(account.settledUntil), zone)}`}
      </p>
    </>
  );
}
