import uPlot from "uplot";
import { axis } from "../lib/format";
import type { Theme } from "../lib/theme";
import { colourOf, dashOf } from "./palette";
import type { OverTime, Series } from "./series";

export type Drawing = "line" | "columns" | "share";

/** Where the pointer is: which bucket, and how far right in a box of which width. */
export interface Hover {
  readonly at: number;
  readonly left: number;
  readonly width: number;
}

/** Where the pointer is in a plot. */
export interface Pointer {
  readonly left: number;
  readonly top: number;
}

/** Where it is in this one; undefined if it isn't there. What is drawn in its place goes on from there. */
export function pointerIn({ cursor: { left = -1, top = -1 } }: uPlot): Pointer | undefined {
  return left < 0 ? undefined : { left, top };
}

/** Gives a plot another size. A pointer that rests is where it was: uPlot alone would move what is shown with the plot's width. */
export function resize(plot: uPlot, width: number, height: number) {
  const pointer = pointerIn(plot);
  plot.batch(() => plot.setSize({ width, height }));
  if (pointer) plot.setCursor(pointer);
}

/** Steps of an axis for whole numbers: 1, 2, 5, 10 and so on. */
const WHOLE = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();

/** Draws into an element, in the colours that hold there. `pointer` is where it was in what was drawn there before. */
export function draw(
  element: HTMLElement,
  data: OverTime,
  drawing: Drawing,
  height: number,
  theme: Theme,
  onHover: (hover: Hover | undefined) => void,
  pointer?: Pointer,
): uPlot {
  const styles = getComputedStyle(element);
  const [ink, grid] = [styles.getPropertyValue("--ink-2").trim(), styles.getPropertyValue("--line").trim()];
  const faded = theme === "dark" ? "8c" : "99";
  const font = `11px ${styles.getPropertyValue("--font").trim()}`;
  const isStacked = drawing !== "line";
  const { values, order } = isStacked
    ? stacked(data.series, drawing === "share")
    : { values: data.series.map((s) => s.values), order: data.series };
  const isAlone = data.series.filter((series) => !series.isBefore).length === 1;
  const bars = uPlot.paths.bars?.({ size: [0.72, 48], align: 1, radius: 0 });
  // More than can be told apart: thin lines, and areas in place of columns, which are no slower to draw however many there are.
  const isDense = data.times.length > element.clientWidth;
  // What is counted has no halves.
  const isWhole =
    drawing !== "share" && data.series.every(({ values }) => values.every((value) => Number.isInteger(value ?? 0)));
  const isShort = data.times.length < 3;
  const unit = data.series[0]?.unit ?? "";

  return new uPlot(
    {
      width: element.clientWidth,
      height,
      padding: [10, 24, 0, 0],
      legend: { show: false },
      tzDate: (at) => uPlot.tzDate(new Date(at * 1_000), data.zone),
      cursor: {
        x: true,
        y: false,
        drag: { x: false, y: false },
        points: { size: 7, show: !isStacked },
      },
      scales: {
        x: { time: true, ...(isStacked ? { range: widened(data.times) } : {}) },
        y: { range: (_plot, low, high) => extent(low, high, drawing === "share") },
      },
      axes: [
        {
          stroke: ink,
          font,
          grid: { show: false },
          size: 30,
          ticks: { stroke: grid, size: 5 },
          gap: 6,
          values: labels(data),
          space: 64,
        },
        {
          stroke: ink,
          font,
          ...(isWhole ? { incrs: WHOLE } : {}),
          grid: { stroke: grid, width: 1 },
          ticks: { show: false },
          gap: 8,
          size: (_plot, texts) => Math.max(36, ...(texts ?? []).map((text) => text.length * 6.6 + 16)),
          values: (_plot, splits) =>
            splits.map((at) =>
              drawing === "share" ? `${Math.round(at)} %` : unit === "%" ? `${axis(at)} %` : axis(at),
            ),
        },
      ],
      series: [
        {},
        ...order.map((series) => {
          const colour = colourOf(series.colour, styles);
          if (isStacked)
            return {
              label: series.name,
              stroke: colour,
              fill: colour,
              width: 0,
              points: { show: false },
              ...(bars && !isDense ? { paths: bars } : {}),
            };
          return {
            label: series.name,
            stroke: series.isBefore ? `${colour}${faded}` : colour,
            width: isDense ? 1 : series.isBefore ? 1.25 : 1.75,
            dash: series.isBefore ? [4, 4] : dashOf(series.colour),
            points: {
              show: isShort,
              size: 6,
              filter: (_plot: uPlot, _at: number, isAll: boolean) => (isAll ? null : alone(series.values)),
            },
            spanGaps: false,
            ...(isAlone && !series.isBefore ? { fill: `${colour}1c` } : {}),
          };
        }),
      ],
      hooks: {
        ready: [(plot) => pointer && plot.setCursor(pointer)],
        setCursor: [
          (plot) => {
            const { idx, left } = plot.cursor;
            const offset = plot.over.offsetLeft;
            if (idx === null || idx === undefined || left === undefined || left < 0) onHover(undefined);
            else onHover({ at: idx, left: left + offset, width: element.clientWidth });
          },
        ],
      },
    },
    [data.times.map((ms) => ms / 1_000), ...values.map((list) => [...list])],
    element,
  );
}

/** Values with none on either side, which no line would show. */
function alone(values: readonly (number | null)[]): number[] {
  const isThere = (at: number) => (values[at] ?? null) !== null;
  return values.flatMap((_, at) => (isThere(at) && !isThere(at - 1) && !isThere(at + 1) ? [at] : []));
}

/** Room for the last column, which stands right of its time. */
function widened(times: readonly number[]): [number, number] {
  const [first, last] = [times[0] ?? 0, times.at(-1) ?? 0];
  const width = times.length > 1 ? (last - first) / (times.length - 1) : 86_400_000;
  return [first / 1_000, (last + width) / 1_000];
}

function extent(low: number | null, high: number | null, isShare: boolean): [number, number] {
  if (isShare) return [0, 100];
  const [from, to] = [Math.min(0, low ?? 0), Math.max(0, high ?? 0)];
  if (from === to) return [0, 1];
  return [from === 0 ? 0 : from * 1.06, to * 1.06];
}

/** Columns put on one another: the highest is drawn first, behind the others. */
function stacked(series: readonly Series[], isShare: boolean): { values: (number | null)[][]; order: Series[] } {
  const length = series[0]?.values.length ?? 0;
  const sums = new Array<number>(length).fill(0);
  const whole = Array.from({ length }, (_, at) =>
    series.reduce((sum, one) => sum + Math.max(0, one.values[at] ?? 0), 0),
  );
  const layers = series.map((one) => ({
    one,
    values: Array.from({ length }, (_, at) => {
      const value = Math.max(0, one.values[at] ?? 0);
      sums[at] = (sums[at] ?? 0) + (isShare ? ((whole[at] ?? 0) === 0 ? 0 : (value / (whole[at] ?? 1)) * 100) : value);
      return sums[at] ?? 0;
    }),
  }));
  layers.reverse();
  return { values: layers.map((layer) => layer.values), order: layers.map((layer) => layer.one) };
}

/** Short times that don't repeat the day. */
function labels(data: OverTime): (plot: uPlot, splits: number[]) => string[] {
  const format = (options: Intl.DateTimeFormatOptions) =>
    new Intl.DateTimeFormat("en-GB", { timeZone: data.zone, hourCycle: "h23", ...options });
  const day = format({ day: "numeric", month: "short" });
  const clock = format({ hour: "2-digit", minute: "2-digit" });
  const month = format({ month: "short", year: "2-digit" });
  return (_plot, splits) => {
    const step = (splits[1] ?? 0) - (splits[0] ?? 0);
    return splits.map((at) => {
      const date = new Date(at * 1_000);
      if (step >= 27 * 86_400) return month.format(date);
      if (step >= 86_400) return day.format(date);
      const time = clock.format(date);
      return time === "00:00" ? day.format(date) : time;
    });
  };
}
