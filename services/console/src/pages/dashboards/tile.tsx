import { toJsonString } from "@bufbuild/protobuf";
import { useMemo } from "react";
import type { App } from "../../api/access";
import { DataTable } from "../../charts/table";
import { TypedQuerySchema } from "../../gen/penstock/v1/query_pb";
import type { Field } from "../../lib/fields";
import { useLive } from "../../lib/live";
import { href } from "../../lib/route";
import { Button } from "../../ui/button";
import { Select } from "../../ui/field";
import { Empty, Failed, Waiting } from "../../ui/states";
import { toText } from "../explore/draft";
import { parted } from "../explore/pivot";
import { Drawn, Totals } from "../explore/result";
import { namesOf, queryOf, rangeText, stepOf } from "../explore/wire";
import type { Tile } from "./store";

interface Props {
  app: App;
  tile: Tile;
  fields: readonly Field[];
  isEditing: boolean;
  onChange(tile: Tile): void;
  onMove(step: 1 | -1): void;
  onRemove(): void;
}

/** Dashboards are looked at, not stared at. */
const INTERVAL_MS = 2_000;

export function TileView({ app, tile, fields, isEditing, onChange, onMove, onRemove }: Props) {
  const { draft } = tile;
  const zone = draft.zone || app.zone;
  const query = useMemo(() => queryOf(draft, app.id, fields, zone), [draft, app.id, fields, zone]);
  const live = useLive(
    query && toJsonString(TypedQuerySchema, query),
    query && { case: "query", value: query },
    zone,
    INTERVAL_MS,
  );
  const answer = useMemo(() => (live.table === undefined ? undefined : parted(live.table)), [live.table]);
  const names = namesOf(draft.measures);
  const step = stepOf(draft, zone);
  const isFigures = step === undefined && draft.view !== "map" && draft.by.every((field) => field === "");
  const isNamed = names.length > 1 || names[0] !== tile.title;
  return (
    <section className={`panel tile width-${tile.width} ${isFigures ? "figures" : ""}`} aria-label={tile.title}>
      <header className="tile-head">
        {isEditing ? (
          <input
            className="input"
            aria-label="Title of the tile"
            value={tile.title}
            onChange={(event) => onChange({ ...tile, title: event.target.value })}
          />
        ) : (
          <h2>
            <a href={href("explore", { app: app.id, q: toText(draft) })}>{tile.title}</a>
          </h2>
        )}
        <small>{rangeText(draft.range)}</small>
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
            onChange={(width) => onChange({ ...tile, width: Number(width) as Tile["width"] })}
          />
          <Button kind="quiet" icon="trash" aria-label={`Remove ${tile.title}`} onClick={onRemove} />
        </div>
      )}
      {live.fault !== undefined && <Failed fault={live.fault} title="This tile has no answer" />}
      {live.fault === undefined && answer === undefined && <Waiting what="Asking" />}
      {live.fault === undefined && answer !== undefined && (
        <>
          <Totals totals={answer.totals} table={answer.rows} names={names} isNamed={isNamed} />
          {answer.rows.rows.length === 0 ? (
            <Empty title="No events match">
              <p>None came in this time.</p>
            </Empty>
          ) : (
            !isFigures &&
            (draft.view === "table" ? (
              <DataTable table={answer.rows} label={tile.title} zone={zone} step={step} file={tile.title} />
            ) : (
              <Drawn
                table={answer.rows}
                names={names}
                view={draft.view}
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
