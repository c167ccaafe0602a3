import { createElement, useState } from "react";
import type { App } from "../../api/access";
import { type Fault, faultOf } from "../../api/fault";
import { isGood, signs } from "../../api/keys";
import { type Key, KeyKind, Permission } from "../../gen/penstock/v1/admin_pb";
import { useAnswer } from "../../lib/answer";
import type { Field } from "../../lib/fields";
import { useSession } from "../../lib/session";
import { useTheme } from "../../lib/theme";
import { Button, Segments } from "../../ui/button";
import { Code } from "../../ui/code";
import { Input, Select } from "../../ui/field";
import { Secret } from "../../ui/secret";
import { Failed, Waiting, Wrong } from "../../ui/states";
import { isLockWhole, type Lock, Locks } from "../explore/locks";
import { type Language, pageOf, serverOf } from "./snippets";
import { type Claims, claimsOf, maySign, signed } from "./token";

interface Props {
  app: App;
  /** The dashboard's. */
  id: string;
  fields: readonly Field[];
}

/** A key that was made here, while the dialog is open: its secret is kept nowhere. */
interface Made {
  readonly key: Key;
  readonly secret: string;
}

const HINT =
  "Each token has them, and nothing in the page can take them off. These values are an example: your server puts in those of whoever is signed in.";

/** How a dashboard comes into a page of the tenant's own: what stands there, what signs its tokens, and how it looks. */
export function Share({ app, id, fields }: Props) {
  const { api, may } = useSession();
  const keys = useAnswer(may("admin") ? "keys" : undefined, async (signal) =>
    (await api.admin.listKeys({}, { signal })).keys.filter((key) => isGood(key) && signs(key) && reaches(key, app)),
  );
  const [made, setMade] = useState<Made>();
  const [chosen, setChosen] = useState("");
  const [locks, setLocks] = useState<readonly Lock[]>([]);
  const [language, setLanguage] = useState<Language>("node");
  const all = [...(keys.value ?? []), ...(made === undefined ? [] : [made.key])];
  const key = all.find(({ keyId }) => keyId === chosen) ?? all[0];
  const keyId = key?.keyId ?? (chosen.trim() || "KEY_ID");
  const claims = claimsOf(app.id, id, locks.filter(isLockWhole));
  const isSigner = made !== undefined && made.key.keyId === key?.keyId;

  return (
    <div className="dialog-body">
      {!may("admin") ? (
        <Input
          label="Id of the signing key"
          className="mono"
          hint="Admins see the keys, and make one for this."
          value={chosen}
          onChange={(event) => setChosen(event.target.value)}
        />
      ) : keys.fault !== undefined ? (
        <Failed fault={keys.fault} again={keys.again} />
      ) : keys.value === undefined ? (
        <Waiting />
      ) : (
        <Signer
          app={app}
          keys={all}
          chosen={key}
          made={made}
          onChoose={setChosen}
          onMade={(made) => {
            setMade(made);
            setChosen(made.key.keyId);
          }}
        />
      )}
      <Locks appId={app.id} fields={fields} locks={locks} hint={HINT} onChange={setLocks} />
      {!locks.some(isLockWhole) && (key?.filters.length ?? 0) === 0 && (
        <p className="hint">Without a filter, who has the page sees the numbers of everybody.</p>
      )}
      {isSigner && <Preview app={app} id={id} made={made} claims={claims} isWhole={locks.every(isLockWhole)} />}
      <Code title="In your page" text={pageOf(api.server, app.id, id)} />
      <Code
        title="On your server"
        text={serverOf(language, key?.kind === KeyKind.EDDSA ? "EdDSA" : "HS256", keyId, claims)}
      >
        <Segments<Language>
          label="Language"
          value={language}
          options={[
            { value: "node", label: "Node.js" },
            { value: "python", label: "Python" },
          ]}
          onChange={setLanguage}
        />
      </Code>
    </div>
  );
}

function reaches({ appIds, permissions }: Key, app: App): boolean {
  return permissions.includes(Permission.QUERY) && (appIds.length === 0 || appIds.includes(app.id));
}

/** Which key signs; one can be made. */
function Signer({
  app,
  keys,
  chosen,
  made,
  onChoose,
  onMade,
}: {
  app: App;
  keys: readonly Key[];
  chosen: Key | undefined;
  made: Made | undefined;
  onChoose(keyId: string): void;
  onMade(made: Made): void;
}) {
  const { api } = useSession();
  const [fault, setFault] = useState<Fault>();
  const make = async () => {
    try {
      const { key, secret } = await api.admin.createKey({
        displayName: "embedded dashboards",
        permissions: [Permission.QUERY],
        appIds: [app.id],
        kind: KeyKind.HS256,
      });
      if (key !== undefined) onMade({ key, secret });
      setFault(undefined);
    } catch (error) {
      setFault(faultOf(error));
    }
  };
  return (
    <>
      {chosen === undefined ? (
        <p>
          Pages get tokens, which a key signs that may ask and nothing else. There is none yet that reaches {app.name}.
        </p>
      ) : (
        <Select
          label="Signed with"
          value={chosen.keyId}
          hint={filtersOf(chosen)}
          options={keys.map((key) => ({ value: key.keyId, label: labelOf(key) }))}
          onChange={onChoose}
        />
      )}
      {made === undefined ? (
        <div>
          <Button kind={chosen === undefined ? "primary" : "plain"} icon="key" onClick={() => void make()}>
            {chosen === undefined ? "Make a signing key" : "Make another"}
          </Button>
          {chosen !== undefined && (
            <p className="hint">
              With one that is made here you see what a customer will see: nobody has the others' secrets here.
            </p>
          )}
        </div>
      ) : (
        <Secret name={`secret of ${made.key.keyId}`} text={made.secret} />
      )}
      <Wrong text={fault?.message} />
    </>
  );
}

function labelOf({ displayName, keyId, kind }: Key): string {
  return `${displayName || "unnamed"} (${keyId}, ${kind === KeyKind.EDDSA ? "Ed25519" : "HS256"})`;
}

function filtersOf({ filters }: Key): string | undefined {
  const words = filters.map(({ property, values }) => `${property} ${values.join(" or ")}`);
  return words.length === 0 ? undefined : `The key itself sees only events with ${words.join(", ")}.`;
}

const HOUR_S = 3_600;

/** The embedded dashboard itself, with a token that is signed here. */
function Preview({
  app,
  id,
  made,
  claims,
  isWhole,
}: {
  app: App;
  id: string;
  made: Made;
  claims: Claims;
  isWhole: boolean;
}) {
  const { api } = useSession();
  const theme = useTheme();
  const token = useAnswer(
    maySign && isWhole ? JSON.stringify(claims) : undefined,
    async () => {
      await import("../../embed/dashboard");
      return signed(made.key.keyId, made.secret, claims, HOUR_S);
    },
    300,
  );
  const isShown = maySign && isWhole && token.value !== undefined && !token.isWaiting;
  return (
    <section className="embedded" aria-label="Preview">
      <h3>What the page shows</h3>
      {!maySign && <p className="hint">To see it here, open the console by https.</p>}
      {!isWhole && <p className="hint">Choose a value for each filter to see it.</p>}
      {token.fault !== undefined && <Failed fault={token.fault} again={token.again} />}
      {/* Never what the filters of before let through. */}
      {token.isWaiting && <Waiting />}
      {isShown &&
        createElement("penstock-dashboard", {
          server: api.server,
          app: app.id,
          dashboard: id,
          token: token.value,
          theme,
        })}
    </section>
  );
}
