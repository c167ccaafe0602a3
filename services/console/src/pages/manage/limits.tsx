import { Fragment } from "react";
import type { TenantQuota } from "../../gen/penstock/v1/admin_pb";
import { bytes, glance } from "../../lib/format";
import { Input } from "../../ui/field";

/** What is limited: how much of it a second, and at once after a pause. */
export const LIMITS = [
  { label: "Events", rate: "eventsPerSecond", burst: "eventsBurst", shown: glance },
  { label: "Bytes sent", rate: "bytesPerSecond", burst: "bytesBurst", shown: bytes },
  { label: "Calls", rate: "requestsPerSecond", burst: "requestsBurst", shown: glance },
  { label: "Bytes that queries read", rate: "queryBytesPerSecond", burst: "queryBytesBurst", shown: bytes },
] as const;

type Limit = (typeof LIMITS)[number];
type Name = Limit["rate" | "burst"];
const NAMES: readonly Name[] = LIMITS.flatMap(({ rate, burst }) => [rate, burst]);

/** A limit in words. */
export function limitOf(quota: TenantQuota | undefined, { rate, burst, shown }: Limit): string {
  const [perSecond, atOnce] = [quota?.[rate], quota?.[burst]];
  const most =
    perSecond === undefined
      ? "as the server is configured"
      : perSecond === 0n
        ? "no limit"
        : `${shown(Number(perSecond))} a second`;
  return atOnce === undefined || atOnce === 0n ? most : `${most}, ${shown(Number(atOnce))} at once`;
}

/** Limits as they are written, by their field in the contract. */
export type Texts = Readonly<Partial<Record<Name, string>>>;

export function textsOf(quota: TenantQuota | undefined): Texts {
  return Object.fromEntries(
    NAMES.flatMap((name) => (quota?.[name] === undefined ? [] : [[name, String(quota[name])]])),
  );
}

export function isWhole(text: string): boolean {
  return /^\d*$/.test(text.trim());
}

/** The limits that were written; undefined if one is no number. */
export function quotaOf(texts: Texts): Partial<Record<Name, bigint>> | undefined {
  const written = NAMES.map((name) => [name, texts[name]?.trim() ?? ""] as const).filter(([, text]) => text !== "");
  if (!written.every(([, text]) => isWhole(text))) return undefined;
  return Object.fromEntries(written.map(([name, text]) => [name, BigInt(text)]));
}

export function LimitFields({ texts, onChange }: { texts: Texts; onChange(texts: Texts): void }) {
  const input = (name: Name, label: string, shown: Limit["shown"]) => {
    const text = texts[name]?.trim() ?? "";
    return (
      <Input
        label={label}
        isBare
        inputMode="numeric"
        value={texts[name] ?? ""}
        hint={shown === bytes && text.length > 3 && isWhole(text) ? bytes(Number(text)) : undefined}
        error={isWhole(text) ? undefined : "Write a whole number"}
        onChange={(event) => onChange({ ...texts, [name]: event.target.value })}
      />
    );
  };
  return (
    <div className="limits">
      <b>Limits</b>
      <b>a second</b>
      <b>at once after a pause</b>
      {LIMITS.map(({ label, rate, burst, shown }) => (
        <Fragment key={rate}>
          <span>{label}</span>
          {input(rate, `${label} a second`, shown)}
          {input(burst, `${label} at once after a pause`, shown)}
        </Fragment>
      ))}
    </div>
  );
}
