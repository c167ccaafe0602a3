import { useEffect, useMemo, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { axis, bucket, withUnit } from "../lib/format";
import { type Theme, useTheme } from "../lib/theme";
import { colourName, colourOf, dashOf } from "./palette";
import type { OverTime, Series } from "./series";

export type Drawing = "line" | "columns" | "share";

interface Props {
  data: OverTime;
  drawing: Drawing;
  label: string;
  height?: number;
  hasLegend?: boolean;
}

interface Hover {
  at: number;
  left: number;
  width: number;
}

/** Lines, stacked columns or shares of the whole over time, on a canvas: 10,000 points are no work for it. */
export function TimeChart({ data, drawing, label, height = 300, hasLegend = true }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const theme = useTheme();
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const [hover, setHover] = useState<Hover>();
  const visible = useMemo(
    () => data.series.filter((one) => !hidden.has(one.name) && (drawing === "line" || !one.isBefore)),
    [data, drawing, hidden],
  );

  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const drawn = draw(element, { ...data, series: visible }, drawing, height, theme, setHover);
    const resized = new ResizeObserver(() => drawn.setSize({ width: element.clientWidth, height }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      drawn.destroy();
    };
  }, [data, visible, drawing, height, theme]);

  const toggle = (name: string) =>
    setHidden((before) => {
      const after = new Set(before);
      if (!after.delete(name)) after.add(name);
      return after.size === data.series.length ? new Set() : after;
    });

  return (
    <figure className="chart">
      <div className="plot">
        <div ref={box} role="img" aria-label={`${label}. The table below has the numbers.`} />
        {hover && <Tooltip hover={hover} data={data} series={visible} isShare={drawing === "share"} />}
      </div>
      {hasLegend && data.series.length > 1 && (
        <ul className="legend" aria-label="Series">
          {data.series
            .filter((series) => drawing === "line" || !series.isBefore)
            .map((series) => (
              <li key={series.name}>
                <button type="button" aria-pressed={!hidden.has(series.name)} onClick={() => toggle(series.name)}>
                  <Swatch series={series} />
                  {series.name}
                </button>
              </li>
            ))}
        </ul>
      )}
    </figure>
  );
}

export function Swatch({ series }: { series: Pick<Series, "colour" | "isBefore"> }) {
  return (
    <i className={`swatch ${series.isBefore ? "before" : ""}`} style={{ color: `var(${colourName(series.colour)})` }} />
  );
}

function Tooltip({
  hover,
  data,
  series,
  isShare,
}: {
  hover: Hover;
  data: OverTime;
  series: readonly Series[];
  isShare: boolean;
}) {
  const time = data.times[hover.at];
  if (time === undefined) return null;
  const values = series.map((one) => ({ one, value: one.values[hover.at] ?? null }));
  const whole = values.reduce((sum, { value }) => sum + (value ?? 0), 0);
  const shown = values
    .filter(({ value }) => value !== null)
    .sort((a, b) => (b.value ?? 0) - (a.value ?? 0))
    .slice(0, 12);
  const isLeft = hover.left > hover.width / 2;
  return (
    <div className="tooltip" style={isLeft ? { right: hover.width - hover.left + 12 } : { left: hover.left + 12 }}>
      <strong>{bucket(new Date(time), data.step, data.zone)}</strong>
      <table>
        <tbody>
          {shown.map(({ one, value }) => (
            <tr key={one.name}>
              <td>
                <Swatch series={one} />
                {one.name}
              </td>
              <td className="number">{value === null ? "–" : withUnit(value, one.unit)}</td>
              {isShare && (
                <td className="number">
                  {value === null || whole === 0 ? "" : `${((value / whole) * 100).toFixed(1)} %`}
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
      {shown.length === 0 && <span>no data</span>}
    </div>
  );
}

function draw(
  element: HTMLElement,
  data: OverTime,
  drawing: Drawing,
  height: number,
  theme: Theme,
  onHover: (hover: Hover | undefined) => void,
): uPlot {
  const styles = getComputedStyle(document.documentElement);
  const [ink, grid] = [styles.getPropertyValue("--ink-2").trim(), styles.getPropertyValue("--line").trim()];
  const faded = theme === "dark" ? "8c" : "99";
  const font = `11px ${styles.getPropertyValue("--font").trim()}`;
  const isStacked = drawing !== "line";
  const { values, order } = isStacked
    ? stacked(data.series, drawing === "share")
    : { values: data.series.map((s) => s.values), order: data.series };
  const isAlone = data.series.filter((series) => !series.isBefore).length === 1;
  const bars = uPlot.paths.bars?.({ size: [0.72, 48], align: 1, radius: 0 });
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
              ...(bars ? { paths: bars } : {}),
            };
          return {
            label: series.name,
            stroke: series.isBefore ? `${colour}${faded}` : colour,
            width: series.isBefore ? 1.25 : 1.75,
            dash: series.isBefore ? [4, 4] : dashOf(series.colour),
            points: { show: isShort, size: 6 },
            spanGaps: false,
            ...(isAlone && !series.isBefore ? { fill: `${colour}1c` } : {}),
          };
        }),
      ],
      hooks: {
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
