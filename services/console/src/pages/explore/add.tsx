import { type FormEvent, useState } from "react";
import type { App } from "../../api/access";
import { type Fault, faultOf } from "../../api/fault";
import { useAnswer } from "../../lib/answer";
import type { Field } from "../../lib/fields";
import { go } from "../../lib/route";
import { useSession } from "../../lib/session";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Input, Select } from "../../ui/field";
import { Wrong } from "../../ui/states";
import { newId, tileOf } from "../dashboards/store";
import type { Draft } from "./draft";
import { namesOf } from "./wire";

const NEW = "";

interface Props {
  app: App;
  draft: Draft;
  fields: readonly Field[];
}

/** Puts the question on a dashboard, as a tile. */
export function AddToDashboard(props: Props) {
  const { may } = useSession();
  const [isOpen, setOpen] = useState(false);
  if (!may("metrics")) return null;
  return (
    <>
      <Button icon="dashboard" onClick={() => setOpen(true)}>
        Add to dashboard
      </Button>
      {isOpen && (
        <Dialog title="Add to a dashboard" onClose={() => setOpen(false)}>
          <Form {...props} />
        </Dialog>
      )}
    </>
  );
}

function Form({ app, draft, fields }: Props) {
  const { api } = useSession();
  const list = useAnswer(
    app.id,
    async (signal) => (await api.dashboards.listDashboards({ appId: app.id }, { signal })).dashboards,
  );
  const boards = list.value ?? [];
  const by = draft.by.filter((field) => field !== "");
  const [title, setTitle] = useState(
    `${namesOf(draft.measures).join(", ")}${by.length > 0 ? ` by ${by.join(", ")}` : ""}`,
  );
  const [chosen, setChosen] = useState<string>();
  const [fault, setFault] = useState<Fault>();
  const board = chosen ?? boards[0]?.dashboardId ?? NEW;
  const add = async () => {
    const tile = tileOf(draft, title.trim() || "Tile", { fields, zone: app.zone });
    if (board === NEW) {
      const made = { dashboardId: newId(), title: `Dashboard ${boards.length + 1}`, tiles: [tile] };
      await api.dashboards.putDashboard({ appId: app.id, dashboard: made });
      return made.dashboardId;
    }
    const { dashboard } = await api.dashboards.getDashboard({ appId: app.id, dashboardId: board });
    if (dashboard !== undefined)
      await api.dashboards.putDashboard({
        appId: app.id,
        dashboard: { ...dashboard, tiles: [...dashboard.tiles, tile] },
      });
    return board;
  };
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    try {
      go("dashboards", { app: app.id, board: await add() });
    } catch (error) {
      setFault(faultOf(error));
    }
  };
  return (
    <form className="dialog-body" onSubmit={(event) => void submit(event)}>
      <Input label="Title" value={title} onChange={(event) => setTitle(event.target.value)} />
      <Select
        label="Dashboard"
        value={board}
        options={[
          ...boards.map((one) => ({ value: one.dashboardId, label: one.title })),
          { value: NEW, label: "A new dashboard" },
        ]}
        onChange={setChosen}
      />
      <Wrong text={(fault ?? list.fault)?.message} />
      <div className="dialog-actions">
        <Button type="submit" kind="primary" disabled={list.value === undefined}>
          Add
        </Button>
      </div>
    </form>
  );
}
