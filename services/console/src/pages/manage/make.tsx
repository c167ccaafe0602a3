import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { useState } from "react";
import type { App } from "../../api/access";
import { MEANING, type Permission } from "../../api/access";
import { type CreateKeyResponse, KeyKind, Permission as Wire } from "../../gen/penstock/v1/admin_pb";
import { Priority } from "../../gen/penstock/v1/common_pb";
import { fromBase64 } from "../../lib/base64";
import { items } from "../../lib/items";
import { useSchema } from "../../lib/schema";
import { useSession } from "../../lib/session";
import { inZone } from "../../lib/zone";
import { Input, Select } from "../../ui/field";
import { DialogForm } from "../../ui/form";
import { isLockWhole, type Lock, Locks } from "../explore/locks";
import { PRIORITIES } from "./change";

/** What a tenant's key can be given here, in the order of how often it is. */
export const GIVEN: readonly (readonly [Permission, Wire])[] = [
  ["query", Wire.QUERY],
  ["ingest", Wire.INGEST],
  ["metrics", Wire.METRICS],
  ["export", Wire.EXPORT],
  ["admin", Wire.ADMIN],
  ["backfill", Wire.BACKFILL],
];

const KINDS = {
  bearer: { kind: KeyKind.BEARER, label: "Shows its text with each call" },
  hs256: { kind: KeyKind.HS256, label: "Signs embed tokens, with a secret made here (HS256)" },
  eddsa: { kind: KeyKind.EDDSA, label: "Signs embed tokens, with a private key of yours (Ed25519)" },
} as const;
type Kind = keyof typeof KINDS;

/** What a key that signs may have, and one with filters. */
const ASKS: readonly Permission[] = ["query", "export"];

/** What can be wrong with a key that only the server knows, and stands beside the field. */
const MARKS = ["display_name", "expires_at", "allowed_cidrs", "allowed_origins"];

export function Make({ app, onMade }: { app: App; onMade(made: CreateKeyResponse): void }) {
  const { api } = useSession();
  const schema = useSchema(app.id);
  const [name, setName] = useState("");
  const [kind, setKind] = useState<Kind>("bearer");
  const [publicKey, setPublicKey] = useState("");
  const [given, setGiven] = useState<ReadonlySet<Permission>>(new Set(["query"]));
  const [isOne, setOne] = useState(true);
  const [until, setUntil] = useState("");
  const [priority, setPriority] = useState<Priority>(Priority.UNSPECIFIED);
  const [networks, setNetworks] = useState("");
  const [origins, setOrigins] = useState("");
  const [locks, setLocks] = useState<readonly Lock[]>([]);

  const choice = kind === "bearer" ? GIVEN : GIVEN.filter(([word]) => ASKS.includes(word));
  const chosen = choice.filter(([word]) => given.has(word));
  const isAsking = chosen.every(([word]) => ASKS.includes(word));
  const bytes = publicKeyOf(publicKey);
  const expiry = inZone(until, "UTC");
  const isReady =
    chosen.length > 0 &&
    (kind !== "eddsa" || bytes !== undefined) &&
    (until === "" || expiry !== undefined) &&
    (!isAsking || locks.every(isLockWhole));

  const submit = async () =>
    onMade(
      await api.admin.createKey({
        displayName: name.trim(),
        kind: KINDS[kind].kind,
        permissions: chosen.map(([, wire]) => wire),
        appIds: isOne ? [app.id] : [],
        priority,
        allowedCidrs: items(networks),
        allowedOrigins: items(origins),
        filters: isAsking ? locks.map(({ property, values }) => ({ property, values: [...values] })) : [],
        ...(expiry && { expiresAt: timestampFromDate(expiry) }),
        ...(kind === "eddsa" && bytes && { publicKey: bytes }),
      }),
    );
  const toggle = (word: Permission) =>
    setGiven((before) => {
      const after = new Set(before);
      if (!after.delete(word)) after.add(word);
      return after;
    });
  return (
    <DialogForm label="Make the key" isReady={isReady} marks={MARKS} onSubmit={submit}>
      {(wrong) => (
        <>
          <Input
            label="Name"
            placeholder="checkout service"
            hint="What people call it, so that they know what stops when it is revoked."
            error={wrong("display_name")}
            value={name}
            onChange={(event) => setName(event.target.value)}
          />
          <Select<Kind>
            label="Kind"
            value={kind}
            hint={
              kind === "bearer"
                ? undefined
                : "Your server signs a token for whoever is signed in; Share on a dashboard shows how."
            }
            options={(Object.keys(KINDS) as Kind[]).map((value) => ({ value, label: KINDS[value].label }))}
            onChange={setKind}
          />
          {kind === "eddsa" && (
            <Input
              label="Public key"
              className="mono"
              hint="As PEM, or its 32 bytes in base64. The private key never leaves you."
              error={publicKey === "" || bytes ? undefined : "This is no Ed25519 public key."}
              value={publicKey}
              onChange={(event) => setPublicKey(event.target.value)}
            />
          )}
          <fieldset className="checks">
            <legend>It may</legend>
            {choice.map(([word]) => (
              <label key={word} className="check">
                <input type="checkbox" checked={given.has(word)} onChange={() => toggle(word)} />
                {MEANING[word]}
              </label>
            ))}
          </fieldset>
          <label className="check">
            <input type="checkbox" checked={isOne} onChange={(event) => setOne(event.target.checked)} />
            only in {app.name}
          </label>
          <Input
            label="Good until, UTC"
            type="datetime-local"
            hint="Empty: until it is revoked."
            error={wrong("expires_at")}
            value={until}
            onChange={(event) => setUntil(event.target.value)}
          />
          <Input
            label="Networks"
            placeholder="everywhere"
            hint="From which it may be used, as 10.0.0.0/8, 2001:db8::/32 or one address, with commas between."
            error={wrong("allowed_cidrs", items(networks))}
            value={networks}
            onChange={(event) => setNetworks(event.target.value)}
          />
          <Input
            label="Web pages that may call"
            placeholder="as the settings have it"
            hint="Origins, as https://dash.example, with commas between. What is no browser names none, and is let in."
            error={wrong("allowed_origins", items(origins))}
            value={origins}
            onChange={(event) => setOrigins(event.target.value)}
          />
          <Select
            label="Highest priority"
            hint="Where there are too many calls, the least urgent are the first to be turned away."
            value={String(priority)}
            options={[
              { value: String(Priority.UNSPECIFIED), label: "as your own key has it" },
              ...PRIORITIES.map(({ value, label }) => ({ value: String(value), label })),
            ]}
            onChange={(value) => setPriority(Number(value))}
          />
          {isAsking && (
            <Locks
              appId={app.id}
              fields={schema.value ?? []}
              locks={locks}
              hint="Other events aren't there for it, whatever it asks. None: it sees all."
              onChange={setLocks}
            />
          )}
        </>
      )}
    </DialogForm>
  );
}

/** What stands before the 32 bytes of an Ed25519 key in its DER (RFC 8410). */
const SPKI = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

function publicKeyOf(text: string): Uint8Array<ArrayBuffer> | undefined {
  const bytes = fromBase64(text.replaceAll(/-----[A-Z ]+-----|\s/g, ""));
  if (bytes?.length === 32) return bytes;
  const isSpki = bytes?.length === SPKI.length + 32 && SPKI.every((byte, at) => bytes[at] === byte);
  return isSpki ? bytes.slice(SPKI.length) : undefined;
}
