import { toJsonString } from "@bufbuild/protobuf";
import { useMemo } from "react";
import type { App } from "../../api/access";
import { DataTable } from "../../charts/table";
import { type Tile, TileSchema } from "../../gen/penstock/v1/dashboards_pb";
import { type TimeRange, TimeRangeSchema } from "../../gen/penstock/v1/query_pb";
import type { Field } from "../../lib/fields";
import { useLive } from "../../lib/live";
import { href } from "../../lib/route";
import { Button } from "../../ui/button";
import { Select } from "../../ui/field";
import { Empty, Failed, Waiting } from "../../ui/states";
import { toText } from "../explore/draft";
import { parted } from "../explore/pivot";
import { Drawn, Totals } from "../explore/result";
import { draftOf } from "../explore/reverse";
import { namesIn } from "../explore/shape";
import { questionOf, rangeOfTile, shapeOfTile, viewOf } from "./store";

interface Props {
  app: App;
  tile: Tile;
  /** Of tiles that have none of their own. */
  range: TimeRange | undefined;
  fields: readonly Field[];
  isEditing: boolean;
  /** Its question is to be written anew. */
  onAsk(): void;
  onChange(change: Partial<Pick<Tile, "title" | "width">>): void;
  onMove(step: 1 | -1): void;
  onRemove(): void;
}

/** Dashboards are looked at, not stared at. */
const INTERVAL_MS = 2_000;

export function TileView({ app, tile, range, fields, isEditing, onAsk, onChange, onMove, onRemove }: Props) {
  const zone = tile.timeZone || app.zone;
  const asked = `${toJsonString(TileSchema, { ...tile, title: "", width: 0 })} ${range && toJsonString(TimeRangeSchema, range)}`;
  // biome-ignore lint/correctness/useExhaustiveDependencies: what it asks is in `asked`
  const [question, shape] = useMemo(() => [questionOf(tile, range, app.id), shapeOfTile(tile)], [asked, app.id]);
  const live = useLive(question && `${app.id} ${asked}`, question, zone, INTERVAL_MS);
  const answer = useMemo(() => (live.table === undefined ? undefined : parted(live.table)), [live.table]);
  const names = useMemo(() => (answer === undefined ? [] : namesIn(shape, answer.rows)), [answer, shape]);
  const { step, view } = shape;
  const draft = useMemo(
    () =>
      question?.case === "query" && tile.question.case === "query"
        ? draftOf(tile.question.value, viewOf(tile), app.id, fields, tile.timeZone, app.zone)
        : undefined,
    [question, tile, app, fields],
  );
  const isFigures = step === undefined && view !== "map" && !shape.isGrouped;
  // A metric's tile is called as people call the metric.
  const isNamed = tile.question.case !== "metric" && (names.length > 1 || names[0] !== tile.title);
  return (
    <section className={`panel tile width-${tile.width} ${isFigures ? "figures" : ""}`} aria-label={tile.title}>
      <header className="tile-head">
        {isEditing ? (
          <input
            className="input"
            aria-label="Title of the tile"
            value={tile.title}
            onChange={(event) => onChange({ title: event.target.value })}
          />
        ) : (
          <h2>
            {draft === undefined ? (
              tile.title
            ) : (
              <a href={href("explore", { app: app.id, q: toText(draft) })}>{tile.title}</a>
            )}
          </h2>
        )}
        <small>{rangeOfTile(tile, range, zone)}</small>
        {live.behind !== "" && (
          <small className="behind" title={live.behind}>
            behind
          </small>
        )}
      </header>
      {isEditing && (
        <div className="tile-tools">
          <Button kind="quiet" onClick={() => onMove(-1)}>
            ← Earlier
          </Button>
          <Button kind="quiet" onClick={() => onMove(1)}>
            Later →
          </Button>
          <Select
            label={`Width of ${tile.title}`}
            isBare
            value={String(tile.width) as "1" | "2" | "4"}
            options={[
              { value: "1", label: "A quarter" },
              { value: "2", label: "Half" },
              { value: "4", label: "Whole" },
            ]}
            onChange={(width) => onChange({ width: Number(width) })}
          />
          {tile.question.case !== "query" && (
            <Button kind="quiet" icon="edit" aria-label={`Question of ${tile.title}`} onClick={onAsk} />
          )}
          <Button kind="quiet" icon="trash" aria-label={`Remove ${tile.title}`} onClick={onRemove} />
        </div>
      )}
      {live.fault !== undefined && <Failed fault={live.fault} title="This tile has no answer" />}
      {question === undefined && <Empty title="This tile asks for nothing" />}
      {live.fault === undefined && question !== undefined && answer === undefined && <Waiting what="Asking" />}
      {live.fault === undefined && answer !== undefined && (
        <>
          <Totals totals={answer.totals} table={answer.rows} names={names} isNamed={isNamed} />
          {answer.rows.rows.length === 0 ? (
            <Empty title="No events match">
              <p>None came in this time.</p>
            </Empty>
          ) : (
            !isFigures &&
            (view === "table" ? (
              <DataTable
                table={answer.rows}
                label={`${tile.title}, as a table`}
                zone={zone}
                step={step}
                file={tile.title}
              />
            ) : (
              <Drawn
                table={answer.rows}
                names={names}
                view={view}
                step={step}
                zone={zone}
                label={tile.title}
                height={200}
              />
            ))
          )}
        </>
      )}
    </section>
  );
}
