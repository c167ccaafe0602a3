import { useEffect, useMemo, useRef, useState } from "react";
import "uplot/dist/uPlot.min.css";
import { bucket, withUnit } from "../lib/format";
import { useTheme } from "../lib/theme";
import { colourName } from "./palette";
import { type Drawing, draw, type Hover, type Pointer, pointerIn, resize } from "./plot";
import type { OverTime, Series } from "./series";

interface Props {
  data: OverTime;
  drawing: Drawing;
  label: string;
  height?: number;
  hasLegend?: boolean;
}

/** Lines, stacked columns or shares of the whole over time, on a canvas: 10,000 points are no work for it. */
export function TimeChart({ data, drawing, label, height = 300, hasLegend = true }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const pointer = useRef<Pointer>(undefined);
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
    const drawn = draw(element, { ...data, series: visible }, drawing, height, theme, setHover, pointer.current);
    const resized = new ResizeObserver(() => resize(drawn, element.clientWidth, height));
    resized.observe(element);
    return () => {
      resized.disconnect();
      pointer.current = pointerIn(drawn);
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
