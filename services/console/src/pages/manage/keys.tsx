import { timestampDate } from "@bufbuild/protobuf/wkt";
import { type ComponentProps, useState } from "react";
import type { App } from "../../api/access";
import { type Fault, faultOf } from "../../api/fault";
import { isGood, signs } from "../../api/keys";
import type { Key } from "../../gen/penstock/v1/admin_pb";
import { Priority } from "../../gen/penstock/v1/common_pb";
import { useAnswer } from "../../lib/answer";
import { ago, instant } from "../../lib/format";
import { useSession } from "../../lib/session";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { List as ListTable } from "../../ui/list";
import { PageHead, Panel } from "../../ui/panel";
import { Secret } from "../../ui/secret";
import { Empty, Listed, Wrong } from "../../ui/states";
import { urgency } from "./change";
import { GIVEN, Make } from "./make";

const WORDS = new Map(GIVEN.map(([word, wire]) => [wire, word]));

export function Keys({ app }: { app: App }) {
  const { api, access } = useSession();
  const keys = useAnswer("keys", async (signal) => (await api.admin.listKeys({}, { signal })).keys);
  const [isMaking, setMaking] = useState(false);
  const [secret, setSecret] = useState<ComponentProps<typeof Secret>>();
  const [fault, setFault] = useState<Fault>();

  const act = async (question: string, call: () => Promise<string>) => {
    if (!window.confirm(question)) return;
    try {
      setSecret({ text: await call() });
      setFault(undefined);
      keys.again();
    } catch (error) {
      setFault(faultOf(error));
    }
  };
  const rotate = ({ keyId, displayName }: Key) =>
    act(
      `Make a new key in the place of ${displayName || keyId}? The old one is good for 24 hours more.`,
      async () => (await api.admin.rotateKey({ keyId })).secret,
    );
  const revoke = ({ keyId, displayName }: Key) =>
    act(`Revoke ${displayName || keyId}? Calls with it fail within a second, and this can't be undone.`, async () => {
      await api.admin.revokeKey({ keyId });
      return "";
    });

  return (
    <>
      <PageHead
        title="Keys"
        about="Who may do what. A key's text, or the secret that it signs with, is shown once: when it is made."
      >
        <Button kind="primary" icon="plus" onClick={() => setMaking(true)}>
          New key
        </Button>
      </PageHead>
      <Wrong text={fault?.message} />
      {secret !== undefined && secret.text !== "" && <Secret {...secret} onClose={() => setSecret(undefined)} />}
      <Panel>
        <Listed
          answer={keys}
          empty={
            <Empty icon="key" title="No key yet">
              <p>Make one for each program that sends or asks, so that each can be revoked by itself.</p>
            </Empty>
          }
        >
          {(keys) => <List keys={keys} own={access.keyId} onRotate={rotate} onRevoke={revoke} />}
        </Listed>
      </Panel>
      {isMaking && (
        <Dialog title="New key" onClose={() => setMaking(false)}>
          <Make
            app={app}
            onMade={({ key, secret: text }) => {
              setMaking(false);
              setSecret(key && signs(key) ? { name: `secret of ${key.keyId}`, text } : { text });
              keys.again();
            }}
          />
        </Dialog>
      )}
    </>
  );
}

function stateOf(key: Key): string {
  if (key.revokedAt) return "revoked";
  if (!isGood(key)) return "ended";
  return key.expiresAt ? `until ${instant(timestampDate(key.expiresAt), "UTC")}` : "good";
}

function List({
  keys,
  own,
  onRotate,
  onRevoke,
}: {
  keys: readonly Key[];
  own: string;
  onRotate(key: Key): void;
  onRevoke(key: Key): void;
}) {
  const rotated = new Set(keys.map(({ rotatedFrom }) => rotatedFrom));
  const sorted = [...keys].sort((a, b) => Number(isGood(b)) - Number(isGood(a)));
  return (
    <ListTable label="Keys">
      <thead>
        <tr>
          <th scope="col">Key</th>
          <th scope="col">May</th>
          <th scope="col">Reaches</th>
          <th scope="col">Last used</th>
          <th scope="col">State</th>
          <th scope="col">
            <span className="unseen">Actions</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {sorted.map((key) => (
          <tr key={key.keyId} className={isGood(key) ? "" : "gone"}>
            <th scope="row">
              <strong>{key.displayName || "unnamed"}</strong>
              <code>
                {key.keyId}
                {key.keyId === own && " (yours)"}
                {signs(key) && ", signs embed tokens"}
              </code>
            </th>
            <td>
              {key.permissions.map((permission) => WORDS.get(permission) ?? "operator").join(", ")}
              {key.priority > Priority.INTERACTIVE && <small>{urgency(key.priority)} at most</small>}
            </td>
            <td>
              {key.appIds.length === 0 ? "every app" : key.appIds.join(", ")}
              {key.filters.length > 0 && (
                <small>
                  events with{" "}
                  {key.filters.map(({ property, values }) => `${property} ${values.join(" or ")}`).join(", ")}
                </small>
              )}
              {key.allowedCidrs.length > 0 && <small>from {key.allowedCidrs.join(", ")}</small>}
              {key.allowedOrigins.length > 0 && <small>in pages of {key.allowedOrigins.join(", ")}</small>}
            </td>
            <td>{key.lastUsedAt ? ago(timestampDate(key.lastUsedAt), new Date()) : "never"}</td>
            <td>{stateOf(key)}</td>
            <td className="actions">
              {isGood(key) && (
                <>
                  {/* Those that sign follow one another instead; and a key is rotated once. */}
                  {!signs(key) && !rotated.has(key.keyId) && (
                    <Button
                      kind="quiet"
                      aria-label={`Rotate ${key.displayName || key.keyId}`}
                      onClick={() => onRotate(key)}
                    >
                      Rotate
                    </Button>
                  )}
                  <Button
                    kind="quiet"
                    aria-label={`Revoke ${key.displayName || key.keyId}`}
                    onClick={() => onRevoke(key)}
                  >
                    Revoke
                  </Button>
                </>
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </ListTable>
  );
}
