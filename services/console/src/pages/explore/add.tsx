import { type FormEvent, useState } from "react";
import type { App } from "../../api/access";
import { go } from "../../lib/route";
import { useSession } from "../../lib/session";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Input, Select } from "../../ui/field";
import { boardsOf, keepBoards, newId } from "../dashboards/store";
import type { Draft } from "./draft";
import { namesOf } from "./wire";

const NEW = "";

/** Puts the question on a dashboard, as a tile. */
export function AddToDashboard({ app, draft }: { app: App; draft: Draft }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <Button icon="dashboard" onClick={() => setOpen(true)}>
        Add to dashboard
      </Button>
      {isOpen && (
        <Dialog title="Add to a dashboard" onClose={() => setOpen(false)}>
          <Form app={app} draft={draft} />
        </Dialog>
      )}
    </>
  );
}

function Form({ app, draft }: { app: App; draft: Draft }) {
  const { access } = useSession();
  const boards = boardsOf(access.tenant, app.id);
  const by = draft.by.filter((field) => field !== "");
  const [title, setTitle] = useState(
    `${namesOf(draft.measures).join(", ")}${by.length > 0 ? ` by ${by.join(", ")}` : ""}`,
  );
  const [board, setBoard] = useState(boards[0]?.id ?? NEW);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const tile = { id: newId(), title: title.trim() || "Tile", draft, width: 2 as const };
    const id = board === NEW ? newId() : board;
    const next =
      board === NEW
        ? [...boards, { id, title: `Dashboard ${boards.length + 1}`, tiles: [tile] }]
        : boards.map((one) => (one.id === board ? { ...one, tiles: [...one.tiles, tile] } : one));
    keepBoards(access.tenant, app.id, next);
    go("dashboards", { app: app.id, board: id });
  };
  return (
    <form className="dialog-body" onSubmit={submit}>
      <Input label="Title" value={title} onChange={(event) => setTitle(event.target.value)} />
      <Select
        label="Dashboard"
        value={board}
        options={[
          ...boards.map((one) => ({ value: one.id, label: one.title })),
          { value: NEW, label: "A new dashboard" },
        ]}
        onChange={setBoard}
      />
      <div className="dialog-actions">
        <Button type="submit" kind="primary">
          Add
        </Button>
      </div>
    </form>
  );
}
