import type { Bar } from "../charts/bars";
import { element } from "../charts/dom";
import { colourName } from "../charts/palette";
import type { Series } from "../charts/series";
import { withUnit } from "../lib/format";

function swatch(colour: number): HTMLElement {
  const made = element("i", { class: "swatch" });
  made.style.background = `var(${colourName(colour)})`;
  return made;
}

export function legend(series: readonly Series[]): HTMLElement {
  if (series.length < 2) return element("ul", { hidden: "" });
  return element(
    "ul",
    { class: "legend" },
    ...series.map(({ name, colour }) => element("li", {}, swatch(colour), name)),
  );
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
