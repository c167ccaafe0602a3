import { withUnit } from "../lib/format";
import { colourName } from "./palette";

export interface Bar {
  readonly name: string;
  readonly values: readonly (number | null)[];
}

/** What one of a bar's values is. */
export interface BarMeasure {
  readonly name: string;
  readonly unit: string;
  /** Which colour it has, and with all of that colour which scale. */
  readonly colour: number;
  readonly isBefore: boolean;
}

interface Props {
  bars: readonly Bar[];
  measures: readonly BarMeasure[];
  label: string;
}

const MOST = 40;

/** Groups beside one another: each measure has a scale of its own, with what it is compared with. */
export function Bars({ bars, measures, label }: Props) {
  const greatest = measures.map((_, m) => Math.max(0, ...bars.map((bar) => Math.abs(bar.values[m] ?? 0))));
  const most = measures.map(({ colour }) =>
    Math.max(...greatest.filter((_, other) => measures[other]?.colour === colour)),
  );
  return (
    <figure className="bars">
      <table aria-label={label}>
        <thead>
          <tr>
            <th scope="col" className="unseen">
              Group
            </th>
            {measures.map((measure) => (
              <th key={measure.name} scope="col" colSpan={2}>
                {measure.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {bars.slice(0, MOST).map((bar) => (
            <tr key={bar.name}>
              <th scope="row" title={bar.name}>
                {bar.name}
              </th>
              {measures.map((measure, m) => {
                const value = bar.values[m] ?? null;
                const share = value === null || (most[m] ?? 0) === 0 ? 0 : Math.abs(value) / (most[m] ?? 1);
                return [
                  <td key={`${measure.name} bar`} className="bar-cell">
                    <i
                      className={measure.isBefore ? "before" : ""}
                      style={{ width: `${share * 100}%`, background: `var(${colourName(measure.colour)})` }}
                    />
                  </td>,
                  <td key={measure.name} className="number">
                    {value === null ? "–" : withUnit(value, measure.unit)}
                  </td>,
                ];
              })}
            </tr>
          ))}
        </tbody>
      </table>
      {bars.length > MOST && (
        <figcaption>
          The first {MOST} of {bars.length} groups. The table has them all.
        </figcaption>
      )}
    </figure>
  );
}
