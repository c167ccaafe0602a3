import { type ReactNode, useState } from "react";
import type { App } from "../../api/access";
import { type GetSettingsResponse, SettingsLevel, type Settings as Wire } from "../../gen/penstock/v1/admin_pb";
import { useAnswer } from "../../lib/answer";
import { useSession } from "../../lib/session";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { List } from "../../ui/list";
import { PageHead, Panel } from "../../ui/panel";
import { Failed, Waiting } from "../../ui/states";
import { Change, urgency } from "./change";
import { LIMITS, limitOf } from "./limits";

/** From the narrowest place to the widest. */
const PLACES = [
  { level: SettingsLevel.APP, name: "the app" },
  { level: SettingsLevel.TENANT, name: "the tenant" },
  { level: SettingsLevel.INSTALLATION, name: "the installation" },
  { level: SettingsLevel.SERVER, name: "the server" },
] as const;

export type Level = Exclude<(typeof PLACES)[number]["level"], SettingsLevel.SERVER>;

/** The next wider place. */
export function widerOf(level: Level): string {
  return PLACES[PLACES.findIndex((place) => place.level === level) + 1]?.name ?? "";
}

export function daysOf(settings: Wire): string {
  const days = settings.retentionDays ?? 0;
  return days === 0 ? "for ever" : `${days} days`;
}

interface Row {
  /** In the contract. */
  readonly field: string;
  readonly label: string;
  show(settings: Wire): string;
}

const ROWS: readonly Row[] = [
  { field: "time_zone", label: "Time zone", show: (s) => s.timeZone },
  {
    field: "allowed_origins",
    label: "Web pages that may call",
    show: (s) => s.allowedOrigins.join(", ") || "as the server is configured",
  },
  { field: "default_priority", label: "Priority of queries", show: (s) => urgency(s.defaultPriority) },
  { field: "max_priority", label: "Highest priority", show: (s) => urgency(s.maxPriority) },
  { field: "retention_days", label: "Events are kept", show: daysOf },
  ...LIMITS.map((limit) => ({
    field: `quota.${limit.rate.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`,
    label: limit.label,
    show: (settings: Wire) => limitOf(settings.quota, limit),
  })),
];

/** What holds for the app and the tenant, and where it comes from. */
export function Settings({ app }: { app: App }) {
  const about = "Each holds from the nearest place that sets it: the app, its tenant, the installation, the server.";
  return <OwnPlaces app={app} title="Settings" about={about} of={Place} />;
}

interface Own {
  app: App;
  title: string;
  about: string;
  /** What shows one place. */
  of(props: Props): ReactNode;
}

/** A page of what is set for the app and for all apps of its tenant. */
export function OwnPlaces({ app, title, about, of: One }: Own) {
  const { access } = useSession();
  const [changes, setChanges] = useState(0);
  const common = { tenantId: access.tenant, changes, onChanged: () => setChanges(changes + 1) };
  return (
    <>
      <PageHead title={title} about={about} />
      <One {...common} level={SettingsLevel.APP} title={app.name} appId={app.id} />
      <One {...common} level={SettingsLevel.TENANT} title={`All apps of ${access.tenant || "the tenant"}`} appId="" />
    </>
  );
}

/** One place, and who changes it. */
export interface Props {
  level: Level;
  title: string;
  /** Empty: the key's own, and an operator's the installation. */
  tenantId: string;
  appId: string;
  /** How often it was changed, here or at a wider place. */
  changes: number;
  onChanged(): void;
  actions?: ReactNode;
}

/** What holds at one place; to be changed by who may. */
export function Place({ level, title, tenantId, appId, changes, onChanged, actions }: Props) {
  const { api, renew } = useSession();
  const held = useAnswer(`${tenantId} ${appId} ${changes}`, async (signal) =>
    api.admin.getSettings({ tenantId, appId }, { signal }),
  );
  const [isChanging, setChanging] = useState(false);
  return (
    <Panel
      title={title}
      actions={
        <>
          {actions}
          <Button
            icon="edit"
            aria-label={`Change ${title}`}
            disabled={held.value === undefined}
            onClick={() => setChanging(true)}
          >
            Change
          </Button>
        </>
      }
    >
      {held.fault !== undefined && <Failed fault={held.fault} again={held.again} />}
      {held.value === undefined && held.fault === undefined && <Waiting />}
      {held.value !== undefined && <Held label={title} held={held.value} />}
      {isChanging && held.value?.settings !== undefined && (
        <Dialog
          title={title}
          onClose={() => {
            setChanging(false);
            held.again();
          }}
        >
          <Change
            tenantId={tenantId}
            appId={appId}
            set={held.value.settings}
            etag={held.value.etag}
            wider={widerOf(level)}
            onChanged={() => {
              setChanging(false);
              onChanged();
              // Where that fails, days begin where they do now after the next sign-in.
              renew().catch(() => undefined);
            }}
          />
        </Dialog>
      )}
    </Panel>
  );
}

function Held({ label, held }: { label: string; held: GetSettingsResponse }) {
  const { effective, origins } = held;
  if (effective === undefined) return null;
  const levels = new Map(origins.map(({ field, level }) => [field, level]));
  return (
    <List label={label}>
      <thead>
        <tr>
          <th scope="col">Setting</th>
          <th scope="col">Value</th>
          <th scope="col">Set by</th>
        </tr>
      </thead>
      <tbody>
        {ROWS.map(({ field, label, show }) => (
          <tr key={field}>
            <th scope="row">{label}</th>
            <td>{show(effective)}</td>
            <td>{PLACES.find(({ level }) => level === levels.get(field))?.name}</td>
          </tr>
        ))}
      </tbody>
    </List>
  );
}
