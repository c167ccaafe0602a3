import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { lazy, type ReactNode, Suspense, useState } from "react";
import type { App } from "../../api/access";
import { type Fault, faultOf } from "../../api/fault";
import { type Dashboard, DashboardSchema, type Tile, TileSchema } from "../../gen/penstock/v1/dashboards_pb";
import { type TimeRange, TimeRangeSchema } from "../../gen/penstock/v1/query_pb";
import { useAnswer } from "../../lib/answer";
import { saved } from "../../lib/csv";
import type { Field } from "../../lib/fields";
import { go } from "../../lib/route";
import { useSession } from "../../lib/session";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Input, Select } from "../../ui/field";
import { PageHead } from "../../ui/panel";
import { Empty, Failed, Waiting } from "../../ui/states";
import { nameOf, rangeWords } from "../explore/reverse";
import { PERIODS, rangeOf } from "../explore/wire";
import { Ask } from "./ask";
import { newTile, toFile } from "./store";
import { TileView } from "./tile";

const Share = lazy(async () => ({ default: (await import("./share")).Share }));

interface Props {
  app: App;
  id: string;
  title: string;
  /** Undefined while they are asked for. */
  fields: readonly Field[] | undefined;
  tools: ReactNode;
  notices: ReactNode;
  /** The list is no longer as it was. */
  onChanged(): void;
}

/** One dashboard. What is changed is somebody's own until it is saved. */
export function Opened({ app, id, title, fields, tools, notices, onChanged }: Props) {
  const { api, may } = useSession();
  const opened = useAnswer(id, async (signal) => {
    const { dashboard } = await api.dashboards.getDashboard({ appId: app.id, dashboardId: id }, { signal });
    return dashboard;
  });
  const [kept, setKept] = useState<Dashboard>();
  const [edited, setEdited] = useState<Dashboard>();
  const [fault, setFault] = useState<Fault>();
  /** The tile whose question is written. */
  const [asked, setAsked] = useState<Tile>();
  const [isSharing, setSharing] = useState(false);
  const current = kept ?? opened.value;
  const board = edited ?? current;

  const change = (next: Partial<Pick<Dashboard, "title" | "description" | "tiles" | "range">>) =>
    board && setEdited(create(DashboardSchema, { ...board, ...next }));
  const save = async (dashboard: Dashboard) => {
    try {
      setKept((await api.dashboards.putDashboard({ appId: app.id, dashboard })).dashboard);
      setEdited(undefined);
      setFault(undefined);
      onChanged();
    } catch (error) {
      setFault(faultOf(error));
    }
  };
  const theirs = async () => {
    const { dashboard } = await api.dashboards.getDashboard({ appId: app.id, dashboardId: id });
    return dashboard;
  };
  const tried = async (what: () => Promise<void>) => {
    try {
      await what();
    } catch (error) {
      setFault(faultOf(error));
    }
  };
  const giveUp = () =>
    tried(async () => {
      setKept(await theirs());
      setEdited(undefined);
      setFault(undefined);
      onChanged();
    });
  const insist = () =>
    tried(async () => {
      const now = await theirs();
      if (edited && now) await save(create(DashboardSchema, { ...edited, etag: now.etag }));
    });
  const remove = () =>
    tried(async () => {
      if (!board || !window.confirm(`Delete ${board.title} for everybody?`)) return;
      await api.dashboards.deleteDashboard({ appId: app.id, dashboardId: id, etag: board.etag });
      go("dashboards", { app: app.id });
      onChanged();
    });

  return (
    <>
      <PageHead
        title={board?.title ?? title}
        about={
          board?.description ? (
            board.description
          ) : may("metrics") ? (
            <>
              Kept by the server as <code>{id}</code>, for everybody who may ask about this app. Tiles follow their
              events.
            </>
          ) : (
            "Tiles follow their events. Changing them needs a key with the metrics permission."
          )
        }
      >
        {tools}
        {board && may("metrics") && edited === undefined && (
          <Button icon="edit" onClick={() => setEdited(board)}>
            Edit
          </Button>
        )}
        {board && (
          <Button icon="download" onClick={() => saved(`${board.title}.json`, "application/json", toFile(board))}>
            Export
          </Button>
        )}
        {board && edited === undefined && (
          <Button icon="share" onClick={() => setSharing(true)}>
            Share
          </Button>
        )}
      </PageHead>
      {notices}
      {fault !== undefined && <Refused fault={fault} onTheirs={giveUp} onMine={insist} />}
      {edited !== undefined && (
        <div className="edit-board">
          <Input
            label="Title of the dashboard"
            isBare
            value={edited.title}
            onChange={(e) => change({ title: e.target.value })}
          />
          <Input
            label="What the dashboard is about"
            isBare
            placeholder="What it is about"
            value={edited.description}
            onChange={(e) => change({ description: e.target.value })}
          />
          <RangeChoice range={edited.range} zone={app.zone} onChange={(range) => change({ range })} />
          <Button icon="plus" onClick={() => setAsked(create(TileSchema, newTile("sql")))}>
            SELECT
          </Button>
          <Button icon="plus" onClick={() => setAsked(create(TileSchema, newTile("metric")))}>
            Metric
          </Button>
          <Button kind="primary" onClick={() => void save(edited)}>
            Save
          </Button>
          <Button
            onClick={() => {
              setEdited(undefined);
              setFault(undefined);
            }}
          >
            Cancel
          </Button>
          <Button kind="danger" icon="trash" onClick={() => void remove()}>
            Delete dashboard
          </Button>
        </div>
      )}
      {opened.fault !== undefined && board === undefined && <Failed fault={opened.fault} again={opened.again} />}
      {(opened.fault === undefined && board === undefined) || fields === undefined ? <Waiting /> : null}
      {board?.tiles.length === 0 && (
        <Empty icon="dashboard" title="No tile yet">
          <p>
            Ask something in the explorer and choose “Add to dashboard”; or edit this one, and add a SELECT or a metric.
          </p>
          <Button kind="primary" onClick={() => go("explore", { app: app.id })}>
            Open the explorer
          </Button>
        </Empty>
      )}
      <div className="board">
        {board !== undefined &&
          fields !== undefined &&
          board.tiles.map((tile, at) => (
            <TileView
              key={tile.id}
              app={app}
              tile={tile}
              range={board.range}
              fields={fields}
              isEditing={edited !== undefined}
              onAsk={() => setAsked(tile)}
              onChange={(next) =>
                change({
                  tiles: board.tiles.map((one) => (one.id === tile.id ? create(TileSchema, { ...one, ...next }) : one)),
                })
              }
              onMove={(step) => change({ tiles: moved(board.tiles, at, step) })}
              onRemove={() => change({ tiles: board.tiles.filter((one) => one.id !== tile.id) })}
            />
          ))}
      </div>
      {isSharing && board !== undefined && (
        <Dialog title={`${board.title} in a page of yours`} isWide onClose={() => setSharing(false)}>
          <Suspense fallback={<Waiting />}>
            <Share app={app} id={id} fields={fields ?? []} />
          </Suspense>
        </Dialog>
      )}
      {asked !== undefined && edited !== undefined && (
        <Dialog title={asked.question.case === "metric" ? "A metric" : "A SELECT"} onClose={() => setAsked(undefined)}>
          <Ask
            app={app}
            fields={fields ?? []}
            tile={asked}
            onDone={(tile) => {
              const isThere = edited.tiles.some((one) => one.id === tile.id);
              const tiles = isThere
                ? edited.tiles.map((one) => (one.id === tile.id ? tile : one))
                : [...edited.tiles, tile];
              change({ tiles });
              setAsked(undefined);
            }}
          />
        </Dialog>
      )}
    </>
  );
}

/** Of which time tiles are that say none. */
function RangeChoice({
  range,
  zone,
  onChange,
}: {
  range: TimeRange | undefined;
  zone: string;
  onChange(range: TimeRange | undefined): void;
}) {
  const name = range === undefined ? "" : (nameOf(range, zone) ?? "own");
  const options = [
    { value: "", label: "All time, or each tile's own" },
    ...Object.entries(PERIODS).map(([value, { label }]) => ({ value, label })),
    // What was written elsewhere stays until another is chosen.
    ...(name === "" || name in PERIODS ? [] : [{ value: name, label: rangeWords(range, zone) }]),
  ];
  return (
    <Select
      label="Range of the dashboard"
      isBare
      value={name}
      options={options}
      onChange={(chosen) => {
        const next = rangeOf(chosen, zone);
        onChange(next && create(TimeRangeSchema, next));
      }}
    />
  );
}

/** Why it isn't saved, and what becomes of it. */
function Refused({ fault, onTheirs, onMine }: { fault: Fault; onTheirs(): void; onMine(): void }) {
  const isChanged = fault.code === Code.Aborted;
  const isGone = fault.code === Code.NotFound;
  return (
    <div className="notice wrong offer" role="alert">
      {isChanged ? (
        <>
          <p>Somebody changed this dashboard since you opened it. Your changes are not saved.</p>
          <Button onClick={onTheirs}>Show theirs, drop mine</Button>
          <Button onClick={onMine}>Replace theirs with mine</Button>
        </>
      ) : (
        <p>
          {isGone ? "Somebody deleted this dashboard. Export it and import the file to have it again." : fault.message}
        </p>
      )}
    </div>
  );
}

function moved(tiles: readonly Tile[], at: number, step: number): Tile[] {
  const next = [...tiles];
  const [tile] = next.splice(at, 1);
  if (tile !== undefined) next.splice(Math.max(0, at + step), 0, tile);
  return next;
}
