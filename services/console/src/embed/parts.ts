import { type Cell, isNumeric, type Table } from "../api/values";
import type { Bar } from "../charts/bars";
import { element } from "../charts/dom";
import { colourName } from "../charts/palette";
import type { Hover } from "../charts/plot";
import type { OverTime, Series } from "../charts/series";
import type { Column } from "../gen/penstock/v1/common_pb";
import { bucket, type Step, shown, withUnit } from "../lib/format";

function swatch({ colour, isBefore }: Series): HTMLElement {
  const made = element("i", { class: isBefore ? "swatch before" : "swatch" });
  made.style.background = `var(${colourName(colour)})`;
  return made;
}

export function legend(series: readonly Series[]): HTMLElement {
  if (series.length < 2) return element("ul", { hidden: "" });
  return element("ul", { class: "legend" }, ...series.map((one) => element("li", {}, swatch(one), one.name)));
}

export function barList({
  bars,
  measures,
}: {
  bars: readonly Bar[];
  measures: readonly { unit: string }[];
}): HTMLElement {
  const most = Math.max(0, ...bars.map(({ values }) => Math.abs(values[0] ?? 0)));
  const row = ({ name, values }: Bar) => {
    const value = values[0] ?? null;
    const bar = element("i", {});
    bar.style.width = `${most === 0 || value === null ? 0 : (Math.abs(value) / most) * 100}%`;
    const text = value === null ? "–" : withUnit(value, measures[0]?.unit ?? "");
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      element("td", { class: "bar" }, bar),
      element("td", { class: "number" }, text),
    );
  };
  return element("table", {}, element("tbody", {}, ...bars.slice(0, 20).map(row)));
}

const READ = 12;

/** What is under the pointer, in words beside it. */
export function tooltip({ times, series, step, zone }: OverTime): {
  readonly node: HTMLElement;
  show(hover: Hover | undefined): void;
} {
  const node = element("div", { class: "tip", hidden: "", "aria-hidden": "true" });
  const show = (hover: Hover | undefined) => {
    const time = hover && times[hover.at];
    node.hidden = time === undefined;
    if (hover === undefined || time === undefined) return;
    const values = series.flatMap((one) => {
      const value = one.values[hover.at];
      return value === null || value === undefined ? [] : [{ one, value }];
    });
    const rows = values
      .sort((a, b) => b.value - a.value)
      .slice(0, READ)
      .map(({ one, value }) =>
        element("p", {}, swatch(one), `${one.name} `, element("b", {}, withUnit(value, one.unit))),
      );
    node.replaceChildren(element("strong", {}, bucket(new Date(time), step, zone)), ...rows);
    const isRight = hover.left > hover.width / 2;
    node.style.left = isRight ? "" : `${hover.left + 12}px`;
    node.style.right = isRight ? `${hover.width - hover.left + 12}px` : "";
  };
  return { node, show };
}

const MOST = 200;

/** An answer as it came. */
export function dataTable(table: Table, zone: string, step: Step | undefined, label: string): HTMLElement {
  const text = (value: Cell, column: number) => {
    const { name = "", unit = "" } = table.columns[column] ?? {};
    if (value instanceof Date && name === "time" && step !== undefined) return bucket(value, step, zone);
    return typeof value === "number" && unit !== "" ? withUnit(value, unit) : shown(value, zone);
  };
  const kind = (column: Column) => ({ class: isNumeric(column) ? "number" : "" });
  const row = (cells: readonly Cell[]) =>
    element("tr", {}, ...table.columns.map((column, c) => element("td", kind(column), text(cells[c] ?? null, c))));
  const head = table.columns.map((column) => element("th", { scope: "col", ...kind(column) }, column.name));
  const left = table.rows.length - MOST;
  return element(
    "section",
    { class: "scroll", tabindex: "0", "aria-label": `${label}, as a table` },
    element(
      "table",
      {},
      element("thead", {}, element("tr", {}, ...head)),
      element("tbody", {}, ...table.rows.slice(0, MOST).map(row)),
    ),
    left > 0 ? element("p", {}, `and ${left} more rows`) : "",
  );
}
