import { timestampDate } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { useMemo } from "react";
import type { Fault } from "../../api/fault";
import { type Cell, numberOf, ROUTES, type Table, tableOf } from "../../api/values";
import { Bars } from "../../charts/bars";
import { DataTable } from "../../charts/table";
import { TimeChart } from "../../charts/time";
import { WorldMap } from "../../charts/worldmap";
import type { Result as Answered } from "../../gen/penstock/v1/common_pb";
import { bytes, change, clock, milliseconds, type Step, withUnit } from "../../lib/format";
import { FirstEvent } from "../../ui/brand";
import { Empty, Failed, Waiting } from "../../ui/states";
import type { View } from "./draft";
import { bars, overTime, parted } from "./pivot";

interface Props {
  result: Answered | undefined;
  fault: Fault | undefined;
  isWaiting: boolean;
  again(): void;
  names: readonly string[];
  view: View;
  step: Step | undefined;
  zone: string;
  label: string;
}

export function ResultView({ result, fault, isWaiting, again, names, view, step, zone, label }: Props) {
  const answer = useMemo(() => (result === undefined ? undefined : parted(tableOf(result))), [result]);
  if (fault !== undefined && !isWaiting) {
    const isAsked = fault.code === Code.InvalidArgument;
    // What is wrong with a measure or a filter stands beside it.
    const isMarked = fault.violations.some(({ field }) => /^query\.(measures|filters)/.test(field));
    const message = isMarked ? "Its mistake is marked where it stands." : fault.message.replace(/^query\.\w+: /, "");
    return (
      <Failed
        fault={{ ...fault, message }}
        title={isAsked ? "This question has no answer yet" : "There is no answer"}
        {...(isAsked ? {} : { again })}
      />
    );
  }
  if (answer === undefined) return <Waiting what="Asking" />;
  const isEmpty =
    answer.rows.rows.length === 0 || (answer.totals ?? []).every((value) => value === null || value === 0);
  return (
    <div className={`result ${isWaiting ? "stale" : ""}`} aria-busy={isWaiting}>
      <Totals totals={answer.totals} table={answer.rows} names={names} />
      {isEmpty && view !== "table" ? (
        <Empty title="No events match">
          <p>
            Take a longer range, remove a filter, or send events. <FirstEvent />
          </p>
        </Empty>
      ) : (
        <Drawn table={answer.rows} names={names} view={view} step={step} zone={zone} label={label} />
      )}
      <DataTable table={answer.rows} label={`${label}, as a table`} zone={zone} step={step} file="explore" />
      <Origin result={result} zone={zone} />
    </div>
  );
}

export function Drawn({
  table,
  names,
  view,
  step,
  zone,
  label,
  height = 300,
}: {
  table: Table;
  names: readonly string[];
  view: View;
  step: Step | undefined;
  zone: string;
  label: string;
  height?: number;
}) {
  const drawn = useMemo(
    () => (step === undefined ? undefined : overTime(table, names, step, zone)),
    [table, names, step, zone],
  );
  if (view === "table") return null;
  if (view === "map") return <WorldMap table={table} names={names} label={label} />;
  if (drawn !== undefined)
    return (
      <TimeChart
        data={drawn}
        drawing={view === "bar" ? "columns" : view === "share" ? "share" : "line"}
        label={label}
        height={height}
      />
    );
  return <Bars {...bars(table, names, zone)} label={label} />;
}

/** The measures of all events, beside what they were before. */
export function Totals({
  totals,
  table,
  names,
  isNamed = true,
}: {
  totals: readonly Cell[] | undefined;
  table: Table;
  names: readonly string[];
  /** Whether the measures' names are shown, or are over it already. */
  isNamed?: boolean;
}) {
  if (totals === undefined) return null;
  const of = (name: string) => {
    const place = table.columns.findIndex((column) => column.name === name);
    return {
      value: place < 0 ? null : numberOf(totals[place]),
      unit: table.columns[place]?.unit ?? "",
      sketch: table.columns[place]?.sketch ?? "",
    };
  };
  return (
    <dl className="totals">
      {names.map((name) => {
        const [now, before] = [of(name), of(`${name}_before`)];
        return (
          <div key={name}>
            <dt className={isNamed ? "" : "unseen"}>{name}</dt>
            <dd>
              {now.value === null ? "–" : withUnit(now.value, now.unit)}
              {now.sketch !== "" && <abbr title={`estimated: ${now.sketch}`}>≈</abbr>}
            </dd>
            {now.value !== null && before.value !== null && (
              <dd className="change">
                <b className={now.value >= before.value ? "up" : "down"}>{change(now.value, before.value)}</b> from{" "}
                {withUnit(before.value, now.unit)}
              </dd>
            )}
          </div>
        );
      })}
    </dl>
  );
}

/** As of when the answer is, and what it cost. */
export function Origin({ result, zone }: { result: Answered | undefined; zone: string }) {
  const info = result?.info;
  if (info === undefined) return null;
  const { cost, watermark } = info;
  const parts = [
    watermark?.completeUntil && `complete until ${clock(timestampDate(watermark.completeUntil), zone)}`,
    cost && `${milliseconds(Number(cost.elapsedUs))}`,
    cost && cost.readBytes > 0n && `read ${bytes(Number(cost.readBytes))}`,
    `from ${ROUTES[info.route]}`,
    info.stale && "an earlier answer: the warehouse is away",
    info.truncated && "cut off at the row cap",
  ];
  return <p className="origin">{parts.filter(Boolean).join(" · ")}</p>;
}
