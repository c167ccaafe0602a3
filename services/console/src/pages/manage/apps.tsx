import { timestampDate } from "@bufbuild/protobuf/wkt";
import { useState } from "react";
import { useAnswer } from "../../lib/answer";
import { instant } from "../../lib/format";
import { useSession } from "../../lib/session";
import { isZone, ZONES } from "../../lib/zone";
import { Button } from "../../ui/button";
import { Combobox } from "../../ui/combobox";
import { Dialog } from "../../ui/dialog";
import { Input } from "../../ui/field";
import { DialogForm } from "../../ui/form";
import { List as ListTable } from "../../ui/list";
import { PageHead, Panel } from "../../ui/panel";
import { Listed } from "../../ui/states";

export function Apps() {
  const { api, renew } = useSession();
  const apps = useAnswer("apps", async (signal) => (await api.admin.listApps({}, { signal })).apps);
  const [isMaking, setMaking] = useState(false);
  const [made, setMade] = useState("");
  return (
    <>
      <PageHead
        title="Apps"
        about="An app is what events are sent to and asked of; each has properties, metrics and a time zone of its own."
      >
        <Button kind="primary" icon="plus" onClick={() => setMaking(true)}>
          New app
        </Button>
      </PageHead>
      {made !== "" && (
        <p className="notice" role="status">
          {made} is there. Choose it on the left to see its events.
        </p>
      )}
      <Panel>
        <Listed answer={apps}>
          {(apps) => (
            <ListTable label="Apps">
              <thead>
                <tr>
                  <th scope="col">App</th>
                  <th scope="col">Time zone</th>
                  <th scope="col">Since, UTC</th>
                </tr>
              </thead>
              <tbody>
                {apps.map((app) => (
                  <tr key={app.appId}>
                    <th scope="row">
                      <strong>{app.displayName || app.appId}</strong>
                      <code>{app.appId}</code>
                    </th>
                    <td>{app.timeZone}</td>
                    <td>{app.createdAt ? instant(timestampDate(app.createdAt), "UTC") : "–"}</td>
                  </tr>
                ))}
              </tbody>
            </ListTable>
          )}
        </Listed>
      </Panel>
      {isMaking && (
        <Dialog title="New app" onClose={() => setMaking(false)}>
          <Make
            onMade={(id) => {
              setMaking(false);
              setMade(id);
              apps.again();
              // Where that fails, it is there after the next sign-in.
              renew().catch(() => undefined);
            }}
          />
        </Dialog>
      )}
    </>
  );
}

function Make({ onMade }: { onMade(id: string): void }) {
  const { api } = useSession();
  const [app, setApp] = useState({ appId: "", displayName: "", timeZone: "" });
  const submit = async () => {
    await api.admin.createApp({ app });
    onMade(app.appId);
  };
  return (
    <DialogForm label="Add the app" isReady={app.appId !== ""} onSubmit={submit}>
      <Input
        label="Id"
        placeholder="shop"
        hint="As it stands in calls: letters, digits, _ and -; it never changes."
        value={app.appId}
        onChange={(event) => setApp({ ...app, appId: event.target.value })}
      />
      <Input
        label="Name"
        placeholder="Web shop"
        value={app.displayName}
        onChange={(event) => setApp({ ...app, displayName: event.target.value })}
      />
      <div className="field">
        <span className="label">Time zone</span>
        <Combobox
          label="Time zone"
          value={app.timeZone}
          choices={[{ value: "", note: "the tenant's" }, ...ZONES.map((value) => ({ value }))]}
          placeholder="the tenant's"
          onChange={(timeZone) => (timeZone === "" || isZone(timeZone)) && setApp({ ...app, timeZone })}
        />
      </div>
    </DialogForm>
  );
}
