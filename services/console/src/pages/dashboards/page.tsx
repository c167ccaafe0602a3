import { type ReactNode, useState } from "react";
import type { App } from "../../api/access";
import { faultOf } from "../../api/fault";
import type { Dashboard, DashboardSummary } from "../../gen/penstock/v1/dashboards_pb";
import { useAnswer } from "../../lib/answer";
import { go, usePlace } from "../../lib/route";
import { useSchema } from "../../lib/schema";
import { useSession } from "../../lib/session";
import { Button } from "../../ui/button";
import { Select } from "../../ui/field";
import { PageHead } from "../../ui/panel";
import { Empty, Failed, Waiting, Wrong } from "../../ui/states";
import { Opened } from "./opened";
import { fromFile, type Ground, leaveHere, leftHere, newId, readBoard, whole } from "./store";

/** Tiles that follow their events, kept by the server for everybody who may ask. */
export function Dashboards({ app }: { app: App }) {
  const { api, may } = useSession();
  const wanted = usePlace().params.get("board");
  const schema = useSchema(app.id);
  const [problem, setProblem] = useState("");
  const list = useAnswer(
    app.id,
    async (signal) => (await api.dashboards.listDashboards({ appId: app.id }, { signal })).dashboards,
  );
  const all = list.value ?? [];
  const shown = all.find(({ dashboardId }) => dashboardId === wanted) ?? all[0];
  const ground = schema.value && { fields: schema.value, zone: app.zone };

  const open = (id: string) => go("dashboards", { app: app.id, board: id });
  const add = async (next: { dashboardId: string; title: string } | Dashboard) => {
    try {
      await api.dashboards.putDashboard({ appId: app.id, dashboard: next });
      setProblem("");
      list.again();
      open(next.dashboardId);
    } catch (error) {
      setProblem(`${next.title} can't be kept: ${faultOf(error).message}`);
    }
  };
  const take = async (file: File) => {
    const read = ground && fromFile(await file.text(), ground);
    if (read === undefined) return setProblem(`${file.name} is no dashboard that was exported here.`);
    const isTaken = all.some(({ dashboardId }) => dashboardId === read.dashboardId);
    await add(whole(isTaken ? { ...read, dashboardId: newId() } : read));
  };

  const tools = (
    <>
      {all.length > 1 && shown && (
        <Select
          label="Dashboard"
          isBare
          value={shown.dashboardId}
          options={all.map(({ dashboardId, title }) => ({ value: dashboardId, label: title }))}
          onChange={open}
        />
      )}
      {may("metrics") && (
        <>
          <Import onFile={(file) => void take(file)} />
          <Button icon="plus" onClick={() => void add({ dashboardId: newId(), title: `Dashboard ${all.length + 1}` })}>
            New
          </Button>
        </>
      )}
    </>
  );
  const notices = (
    <>
      <Wrong text={problem} />
      {ground && may("metrics") && <LeftHere app={app} ground={ground} onKept={list.again} />}
    </>
  );
  if (shown !== undefined)
    return (
      <Opened
        key={`${app.id} ${shown.dashboardId}`}
        app={app}
        id={shown.dashboardId}
        title={shown.title}
        fields={schema.value}
        tools={tools}
        notices={notices}
        onChanged={list.again}
      />
    );
  return (
    <>
      <PageHead title="Dashboards" about="Tiles that follow their events, for everybody who may ask about this app.">
        {tools}
      </PageHead>
      {notices}
      <None list={list} app={app} mayPut={may("metrics")} />
    </>
  );
}

function None({
  list,
  app,
  mayPut,
}: {
  list: ReturnType<typeof useAnswer<readonly DashboardSummary[]>>;
  app: App;
  mayPut: boolean;
}): ReactNode {
  if (list.fault !== undefined) return <Failed fault={list.fault} again={list.again} />;
  if (list.value === undefined) return <Waiting />;
  return (
    <Empty icon="dashboard" title="No dashboard yet">
      <p>
        {mayPut
          ? "Ask something in the explorer and choose “Add to dashboard”, or import one."
          : "This key may look at dashboards. Sign in with one that has the metrics permission to make the first."}
      </p>
      {mayPut && (
        <Button kind="primary" onClick={() => go("explore", { app: app.id })}>
          Open the explorer
        </Button>
      )}
    </Empty>
  );
}

/** What this browser kept before the server did: offered once, until it is taken or given up. */
function LeftHere({ app, ground, onKept }: { app: App; ground: Ground; onKept(): void }) {
  const { api, access } = useSession();
  const [left, setLeft] = useState(() => leftHere(access.tenant, app.id));
  const [problem, setProblem] = useState("");
  const leave = (boards: readonly unknown[]) => {
    leaveHere(access.tenant, app.id, boards);
    setLeft(boards);
  };
  const upload = async () => {
    let rest = left;
    for (const board of left) {
      const read = readBoard(board, ground);
      try {
        if (read !== undefined) await api.dashboards.putDashboard({ appId: app.id, dashboard: whole(read) });
        rest = rest.filter((one) => one !== board);
        leave(rest);
      } catch (error) {
        setProblem(`${read?.title} can't be kept: ${faultOf(error).message}`);
        break;
      }
    }
    onKept();
  };
  const forget = () => {
    if (window.confirm("Forget the dashboards that only this browser has?")) leave([]);
  };
  if (left.length === 0) return null;
  return (
    <section className="notice offer" aria-label="Dashboards of this browser">
      <p>
        {left.length === 1 ? "One dashboard lies" : `${left.length} dashboards lie`} in this browser alone. The server
        keeps them for everybody who may ask about {app.name}.
      </p>
      <Button kind="primary" onClick={() => void upload()}>
        Move to the server
      </Button>
      <Button onClick={forget}>Forget</Button>
      <Wrong text={problem} />
    </section>
  );
}

function Import({ onFile }: { onFile(file: File): void }) {
  return (
    <label className="button plain import">
      Import
      <input
        type="file"
        accept="application/json,.json"
        className="unseen"
        onChange={(event) => {
          const file = event.target.files?.[0];
          if (file !== undefined) onFile(file);
          event.target.value = "";
        }}
      />
    </label>
  );
}
