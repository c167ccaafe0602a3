import { useState } from "react";
import { type Cell, isNumeric, type Table } from "../api/values";
import { saved, toCsv } from "../lib/csv";
import { bucket, type Step, shown, withUnit } from "../lib/format";
import { Button } from "../ui/button";

interface Props {
  table: Table;
  label: string;
  zone: string;
  /** The width of the buckets in the column "time", if there is one. */
  step?: Step | undefined;
  /** The name of the file that it can be saved as, without ending. */
  file?: string;
}

const PAGE = 200;

/** An answer as it came, sorted as wished. */
export function DataTable({ table, label, zone, step, file = "answer" }: Props) {
  const [sort, setSort] = useState<{ column: number; isDown: boolean }>();
  const [most, setMost] = useState(PAGE);
  const rows =
    sort === undefined
      ? table.rows
      : [...table.rows].sort((a, b) => compare(a[sort.column], b[sort.column]) * (sort.isDown ? -1 : 1));
  const text = (value: Cell, column: number) => {
    const { name = "", unit = "" } = table.columns[column] ?? {};
    if (value instanceof Date && name === "time" && step !== undefined) return bucket(value, step, zone);
    if (typeof value === "number" && unit !== "") return withUnit(value, unit);
    return shown(value, zone);
  };
  return (
    <div className="data">
      {/* A region that scrolls must be within the keyboard's reach. */}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: see above */}
      <section className="scroll" tabIndex={0} aria-label={label}>
        <table>
          <thead>
            <tr>
              {table.columns.map((column, c) => {
                const isSorted = sort?.column === c;
                return (
                  <th
                    key={column.name}
                    scope="col"
                    className={isNumeric(column) ? "number" : ""}
                    aria-sort={isSorted ? (sort.isDown ? "descending" : "ascending") : "none"}
                  >
                    <button
                      type="button"
                      onClick={() => setSort({ column: c, isDown: isSorted ? !sort.isDown : isNumeric(column) })}
                    >
                      {column.name}
                      {column.sketch !== "" && <abbr title={`estimated: ${column.sketch}`}>≈</abbr>}
                      <span aria-hidden="true">{isSorted ? (sort.isDown ? "↓" : "↑") : ""}</span>
                    </button>
                  </th>
                );
              })}
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, most).map((row, r) => (
              // Rows have no identity of their own; sorted, they are drawn anew.
              // biome-ignore lint/suspicious/noArrayIndexKey: see above
              <tr key={r}>
                {row.map((value, c) => (
                  <td
                    key={table.columns[c]?.name}
                    className={
                      value === null ? "null" : typeof value === "number" || typeof value === "bigint" ? "number" : ""
                    }
                  >
                    {text(value, c)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      <footer className="data-foot">
        <span>
          {rows.length.toLocaleString("en-US")} {rows.length === 1 ? "row" : "rows"}
          {rows.length > most && `, the first ${most} shown`}
        </span>
        {rows.length > most && (
          <Button kind="quiet" onClick={() => setMost((n) => n + 1_000)}>
            Show more
          </Button>
        )}
        <Button
          kind="quiet"
          icon="download"
          onClick={() => saved(`${file}.csv`, "text/csv", toCsv({ ...table, rows }))}
        >
          CSV
        </Button>
      </footer>
    </div>
  );
}

function compare(a: Cell | undefined, b: Cell | undefined): number {
  if (a === null || a === undefined) return b === null || b === undefined ? 0 : -1;
  if (b === null || b === undefined) return 1;
  if (typeof a === "string" && typeof b === "string") return a.localeCompare(b);
  return a < b ? -1 : a > b ? 1 : 0;
}
