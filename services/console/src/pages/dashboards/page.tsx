import { useState } from "react";
import type { App } from "../../api/access";
import { saved } from "../../lib/csv";
import { go, usePlace } from "../../lib/route";
import { useSchema } from "../../lib/schema";
import { useSession } from "../../lib/session";
import { Button } from "../../ui/button";
import { Select } from "../../ui/field";
import { PageHead } from "../../ui/panel";
import { Empty, Wrong } from "../../ui/states";
import { type Board, boardsOf, fromFile, keepBoards, newId, type Tile, toFile } from "./store";
import { TileView } from "./tile";

/** Tiles that follow their events. */
export function Dashboards({ app }: { app: App }) {
  const { access } = useSession();
  const wanted = usePlace().params.get("board");
  const [boards, setBoards] = useState(() => boardsOf(access.tenant, app.id));
  const [isEditing, setEditing] = useState(false);
  const [problem, setProblem] = useState("");
  const schema = useSchema(app.id);
  const board = boards.find(({ id }) => id === wanted) ?? boards[0];

  const keep = (next: readonly Board[]) => {
    setBoards(next);
    setProblem(
      keepBoards(access.tenant, app.id, next)
        ? ""
        : "This browser keeps nothing: export the dashboard before you close it.",
    );
  };
  const change = (next: Board) => keep(boards.map((one) => (one.id === next.id ? next : one)));
  const open = (id: string) => go("dashboards", { app: app.id, board: id });
  const add = (next: Board) => {
    keep([...boards, next]);
    open(next.id);
  };
  const take = async (file: File | undefined) => {
    const read = file && fromFile(await file.text());
    if (read !== undefined) add(read);
    else if (file !== undefined) setProblem(`${file.name} is no dashboard that was exported here.`);
  };

  return (
    <>
      <PageHead
        title={board?.title ?? "Dashboards"}
        about="Dashboards are kept in this browser; export one to hand it on. Tiles follow their events."
      >
        {boards.length > 1 && board && (
          <Select
            label="Dashboard"
            isBare
            value={board.id}
            options={boards.map(({ id, title }) => ({ value: id, label: title }))}
            onChange={open}
          />
        )}
        {board && (
          <>
            <Button icon="edit" aria-pressed={isEditing} onClick={() => setEditing(!isEditing)}>
              {isEditing ? "Done" : "Edit"}
            </Button>
            <Button icon="download" onClick={() => saved(`${board.title}.json`, "application/json", toFile(board))}>
              Export
            </Button>
          </>
        )}
        <Import onFile={take} />
        <Button icon="plus" onClick={() => add({ id: newId(), title: `Dashboard ${boards.length + 1}`, tiles: [] })}>
          New
        </Button>
      </PageHead>
      <Wrong text={problem} />
      {board === undefined ? (
        <Empty icon="dashboard" title="No dashboard yet">
          <p>Ask something in the explorer and choose “Add to dashboard”, or import one.</p>
          <Button kind="primary" onClick={() => go("explore", { app: app.id })}>
            Open the explorer
          </Button>
        </Empty>
      ) : (
        <>
          {isEditing && (
            <EditBoard
              board={board}
              onChange={change}
              onRemove={() => keep(boards.filter(({ id }) => id !== board.id))}
            />
          )}
          {board.tiles.length === 0 && (
            <Empty icon="dashboard" title="No tile yet">
              <p>Ask something in the explorer and choose “Add to dashboard”.</p>
              <Button kind="primary" onClick={() => go("explore", { app: app.id })}>
                Open the explorer
              </Button>
            </Empty>
          )}
          <div className="board">
            {schema.value !== undefined &&
              board.tiles.map((tile, at) => (
                <TileView
                  key={tile.id}
                  app={app}
                  tile={tile}
                  fields={schema.value ?? []}
                  isEditing={isEditing}
                  onChange={(next) =>
                    change({ ...board, tiles: board.tiles.map((one) => (one.id === tile.id ? next : one)) })
                  }
                  onMove={(step) => change({ ...board, tiles: moved(board.tiles, at, step) })}
                  onRemove={() => change({ ...board, tiles: board.tiles.filter(({ id }) => id !== tile.id) })}
                />
              ))}
          </div>
        </>
      )}
    </>
  );
}

function moved(tiles: readonly Tile[], at: number, step: number): readonly Tile[] {
  const next = [...tiles];
  const [tile] = next.splice(at, 1);
  if (tile !== undefined) next.splice(Math.max(0, at + step), 0, tile);
  return next;
}

function EditBoard({ board, onChange, onRemove }: { board: Board; onChange(board: Board): void; onRemove(): void }) {
  return (
    <div className="edit-board">
      <input
        className="input"
        aria-label="Title of the dashboard"
        value={board.title}
        onChange={(event) => onChange({ ...board, title: event.target.value })}
      />
      <Button kind="danger" icon="trash" onClick={onRemove}>
        Delete dashboard
      </Button>
    </div>
  );
}

function Import({ onFile }: { onFile(file: File | undefined): void }) {
  return (
    <label className="button plain import">
      Import
      <input
        type="file"
        accept="application/json,.json"
        className="unseen"
        onChange={(event) => {
          onFile(event.target.files?.[0]);
          event.target.value = "";
        }}
      />
    </label>
  );
}
