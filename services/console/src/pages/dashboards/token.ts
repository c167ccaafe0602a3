import { fromBase64, toBase64Url } from "../../lib/base64";
import type { Lock } from "../explore/locks";

/** What an embed token says besides by when it ends. */
export interface Claims {
  readonly apps: readonly string[];
  readonly dashboards: readonly string[];
  readonly filters: Readonly<Record<string, string | readonly string[]>>;
}

export function claimsOf(app: string, dashboard: string, locks: readonly Lock[]): Claims {
  const filters = locks.map(({ property, values }) => [property, values.length === 1 ? (values[0] ?? "") : values]);
  return { apps: [app], dashboards: [dashboard], filters: Object.fromEntries(filters) };
}

/** A page that doesn't come over TLS or from this machine can't sign. */
export const maySign = window.isSecureContext;

/** A JSON Web Token that a key of kind HS256 signs, whose secret this is. */
export async function signed(keyId: string, secret: string, claims: Claims, seconds: number): Promise<string> {
  const header = encoded(JSON.stringify({ alg: "HS256", typ: "JWT", kid: keyId }));
  const body = encoded(JSON.stringify({ ...claims, exp: Math.floor(Date.now() / 1_000) + seconds }));
  const hmac = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", fromBase64(secret) ?? new Uint8Array(), hmac, false, ["sign"]);
  const signature = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(`${header}.${body}`));
  return `${header}.${body}.${toBase64Url(new Uint8Array(signature))}`;
}

function encoded(text: string): string {
  return toBase64Url(new TextEncoder().encode(text));
}
