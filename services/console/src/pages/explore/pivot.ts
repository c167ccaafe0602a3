import { type Cell, numberOf, type Table } from "../../api/values";
import type { Bar, BarMeasure } from "../../charts/bars";
import { REST } from "../../charts/palette";
import type { OverTime, Series } from "../../charts/series";
import { type Step, shown } from "../../lib/format";

/** An answer taken apart: rows, and the row for all of them. */
export interface Parted {
  readonly rows: Table;
  readonly totals: readonly Cell[] | undefined;
}

/** Takes the totals' row off, and the column that marks it. */
export function parted(table: Table): Parted {
  const mark = table.columns.findIndex((column) => column.name === "is_total");
  if (mark < 0) return { rows: table, totals: undefined };
  const without = (row: readonly Cell[]) => row.filter((_, c) => c !== mark);
  return {
    rows: {
      columns: table.columns.filter((_, c) => c !== mark),
      rows: table.rows.filter((row) => row[mark] !== true).map(without),
    },
    totals: table.rows.filter((row) => row[mark] === true).map(without)[0],
  };
}

/** A group's name: the values of its dimensions. */
function nameOf(row: readonly Cell[], places: readonly number[], zone: string): string {
  return places.map((place) => (row[place] === null ? "(none)" : shown(row[place] ?? null, zone))).join(" · ");
}

interface Places {
  time: number;
  dimensions: number[];
  measures: number[];
}

export function placesOf(table: Table, measures: readonly string[]): Places {
  const at = (name: string) => table.columns.findIndex((column) => column.name === name);
  const ours = measures.flatMap((name) => [at(name), at(`${name}_before`)]).filter((place) => place >= 0);
  const time = at("time");
  const dimensions = table.columns.map((_, c) => c).filter((c) => c !== time && !ours.includes(c));
  return { time, dimensions, measures: ours };
}

/** Rows by bucket and group as one series for each group and measure, the greatest group first. */
export function overTime(table: Table, measures: readonly string[], step: Step | undefined, zone: string): OverTime {
  const places = placesOf(table, measures);
  const timeOf = (row: readonly Cell[]) =>
    row[places.time] instanceof Date ? (row[places.time] as Date).getTime() : Number.NaN;
  const times = [...new Set(table.rows.map(timeOf))].filter((ms) => !Number.isNaN(ms)).sort((a, b) => a - b);
  const at = new Map(times.map((ms, i) => [ms, i]));
  const groups = new Map<string, (readonly Cell[])[]>();
  for (const row of table.rows) {
    const name = nameOf(row, places.dimensions, zone);
    const rows = groups.get(name);
    if (rows === undefined) groups.set(name, [row]);
    else rows.push(row);
  }
  const first = places.measures[0] ?? 0;
  const weight = (rows: readonly (readonly Cell[])[]) =>
    rows.reduce((sum, row) => sum + Math.abs(numberOf(row[first]) ?? 0), 0);
  // "others" is no group, so it comes last however great it is.
  const isRest = (name: string) => name === "others";
  // And if all of it is nothing, as of events that have no value of the dimension, it says nothing.
  const isNothing = (rows: readonly (readonly Cell[])[]) =>
    rows.every((row) => places.measures.every((place) => !numberOf(row[place])));
  const ordered = [...groups]
    .filter(([name, rows]) => !(isRest(name) && isNothing(rows)))
    .sort((a, b) => Number(isRest(a[0])) - Number(isRest(b[0])) || weight(b[1]) - weight(a[1]));
  const plain = places.measures.filter((place) => !table.columns[place]?.name.endsWith("_before"));
  const series: Series[] = [];
  ordered.forEach(([group, rows], g) => {
    for (const place of places.measures) {
      const column = table.columns[place];
      if (column === undefined) continue;
      const isBefore = column.name.endsWith("_before") && !measures.includes(column.name);
      const measure = isBefore ? column.name.slice(0, -"_before".length) : column.name;
      const values = new Array<number | null>(times.length).fill(null);
      for (const row of rows) values[at.get(timeOf(row)) ?? -1] = numberOf(row[place]);
      const name = [group, plain.length > 1 || group === "" ? measure : ""].filter((part) => part !== "").join(" · ");
      const colour =
        plain.length === 1 && isRest(group)
          ? REST
          : plain.length > 1
            ? g * plain.length + measures.indexOf(measure)
            : g;
      series.push({ name: isBefore ? `${name}, before` : name, unit: column.unit, values, colour, isBefore });
    }
  });
  return { times, series, step, zone };
}

/** Rows without buckets as bars. */
export function bars(table: Table, measures: readonly string[], zone: string): { bars: Bar[]; measures: BarMeasure[] } {
  const places = placesOf(table, measures);
  return {
    bars: table.rows.map((row) => ({
      name: nameOf(row, places.dimensions, zone) || "All events",
      values: places.measures.map((place) => numberOf(row[place])),
    })),
    measures: places.measures.map((place) => {
      const { name = "", unit = "" } = table.columns[place] ?? {};
      const isBefore = name.endsWith("_before") && !measures.includes(name);
      const of = isBefore ? name.slice(0, -"_before".length) : name;
      return { name: isBefore ? `${of}, before` : name, unit, colour: measures.indexOf(of), isBefore };
    }),
  };
}
