import { timestampDate } from "@bufbuild/protobuf/wkt";
import { useState } from "react";
import { type Fault, faultOf } from "../../api/fault";
import { Permission, SettingsLevel } from "../../gen/penstock/v1/admin_pb";
import { useAnswer } from "../../lib/answer";
import { instant } from "../../lib/format";
import { go, usePlace } from "../../lib/route";
import { useSession } from "../../lib/session";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Input, Select } from "../../ui/field";
import { DialogForm } from "../../ui/form";
import { List } from "../../ui/list";
import { PageHead, Panel } from "../../ui/panel";
import { Secret } from "../../ui/secret";
import { Failed, Listed, Wrong } from "../../ui/states";
import { Brand } from "./branding";
import { Place } from "./settings";
import { Used } from "./used";

/** All tenants and what holds for them: for operators. */
export function Tenants() {
  const named = usePlace().params.get("tenant");
  return named === null ? <All /> : <One key={named} tenantId={named} />;
}

function All() {
  const { api } = useSession();
  const [changes, setChanges] = useState(0);
  const [isMaking, setMaking] = useState(false);
  const onChanged = () => setChanges(changes + 1);
  const common = { level: SettingsLevel.INSTALLATION, tenantId: "", appId: "", changes, onChanged } as const;
  const tenants = useAnswer("tenants", async (signal) => (await api.admin.listTenants({}, { signal })).tenants);
  return (
    <>
      <PageHead
        title="Tenants"
        about="Who uses this installation, and what holds for those who have nothing of their own."
      >
        <Button kind="primary" icon="plus" onClick={() => setMaking(true)}>
          New tenant
        </Button>
      </PageHead>
      {isMaking && (
        <Dialog title="New tenant" onClose={() => setMaking(false)}>
          <Make onMade={(tenant) => go("tenants", { tenant })} />
        </Dialog>
      )}
      <Panel>
        <Listed answer={tenants}>
          {(all) => (
            <List label="Tenants">
              <thead>
                <tr>
                  <th scope="col">Tenant</th>
                  <th scope="col">Since, UTC</th>
                  <th scope="col">
                    <span className="unseen">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {all.map(({ tenantId, displayName, createdAt }) => (
                  <tr key={tenantId}>
                    <th scope="row">
                      <strong>{displayName || tenantId}</strong>
                      <code>{tenantId}</code>
                    </th>
                    <td>{createdAt ? instant(timestampDate(createdAt), "UTC") : "–"}</td>
                    <td className="actions">
                      <Button
                        kind="quiet"
                        aria-label={`Settings of ${tenantId}`}
                        onClick={() => go("tenants", { tenant: tenantId })}
                      >
                        Settings
                      </Button>
                    </td>
                  </tr>
                ))}
              </tbody>
            </List>
          )}
        </Listed>
      </Panel>
      <Used tenantId={undefined} />
      <Place {...common} title="All tenants of the installation" />
      <Brand {...common} title="Branding of the installation" />
    </>
  );
}

function Make({ onMade }: { onMade(id: string): void }) {
  const { api } = useSession();
  const [tenant, setTenant] = useState({ tenantId: "", displayName: "" });
  const submit = async () => {
    await api.admin.createTenant({ tenant });
    onMade(tenant.tenantId);
  };
  return (
    <DialogForm label="Add the tenant" isReady={tenant.tenantId !== ""} onSubmit={submit}>
      <Input
        label="Id"
        placeholder="acme"
        hint="As it stands in calls: letters, digits, _ and -; it never changes."
        value={tenant.tenantId}
        onChange={(event) => setTenant({ ...tenant, tenantId: event.target.value })}
      />
      <Input
        label="Name"
        placeholder="Acme Ltd"
        value={tenant.displayName}
        onChange={(event) => setTenant({ ...tenant, displayName: event.target.value })}
      />
    </DialogForm>
  );
}

/** With it somebody makes the tenant's apps and other keys. */
const OF_ADMINS = [Permission.ADMIN, Permission.QUERY, Permission.METRICS];

function One({ tenantId }: { tenantId: string }) {
  const { api } = useSession();
  const [changes, setChanges] = useState(0);
  const [chosen, setChosen] = useState<string>();
  const [secret, setSecret] = useState("");
  const [fault, setFault] = useState<Fault>();
  const makeKey = async () => {
    try {
      setSecret((await api.admin.createKey({ tenantId, displayName: "admin", permissions: OF_ADMINS })).secret);
      setFault(undefined);
    } catch (error) {
      setFault(faultOf(error));
    }
  };
  const apps = useAnswer(tenantId, async (signal) => (await api.admin.listApps({ tenantId }, { signal })).apps);
  const app = apps.value?.find(({ appId }) => appId === chosen) ?? apps.value?.[0];
  const common = { tenantId, changes, onChanged: () => setChanges(changes + 1) };
  return (
    <>
      <PageHead
        title={`Tenant ${tenantId}`}
        about="Each setting holds from the nearest place that sets it: the app, its tenant, the installation, the server."
      >
        <Button icon="key" onClick={() => void makeKey()}>
          New admin key
        </Button>
        <Button onClick={() => go("tenants")}>All tenants</Button>
      </PageHead>
      <Wrong text={fault?.message} />
      {secret !== "" && <Secret text={secret} onClose={() => setSecret("")} />}
      <Used tenantId={tenantId} />
      <Place {...common} level={SettingsLevel.TENANT} title={`All apps of ${tenantId}`} appId="" />
      {apps.fault !== undefined && <Failed fault={apps.fault} again={apps.again} />}
      {app !== undefined && (
        <Place
          {...common}
          level={SettingsLevel.APP}
          title={app.displayName || app.appId}
          appId={app.appId}
          actions={
            <Select
              label="App"
              isBare
              value={app.appId}
              options={apps.value?.map(({ appId }) => ({ value: appId, label: appId })) ?? []}
              onChange={setChosen}
            />
          }
        />
      )}
      <Brand {...common} level={SettingsLevel.TENANT} title={`Branding of ${tenantId}`} appId="" />
    </>
  );
}
