import { Code } from "@connectrpc/connect";
import type { Api } from "./client";
import { type Fault, fault, faultOf } from "./fault";

export type Permission = "ingest" | "query" | "metrics" | "admin" | "backfill" | "operator" | "export";

export interface App {
  readonly id: string;
  readonly name: string;
  readonly zone: string;
}

/** Who is signed in, and what the key may do. */
export interface Access {
  readonly tenant: string;
  readonly keyId: string;
  readonly permissions: ReadonlySet<Permission>;
  readonly apps: readonly App[];
}

export const MEANING: Record<Permission, string> = {
  ingest: "send events and users",
  query: "ask questions and evaluate metrics",
  metrics: "define metrics and dashboards",
  admin: "manage apps, keys and reports",
  backfill: "send events of any age",
  operator: "manage tenants, quotas and the event log",
  export: "take answers of any length away",
};

const WORDS = Object.keys(MEANING) as Permission[];

/** The public part of a key's text. */
export function keyIdOf(key: string): string {
  return /^pnsk_(?:live|test)_([0-9A-Za-z]{12})_/.exec(key)?.[1] ?? "";
}

/** What the key may do; throws a Fault. Only keys that may query can be asked directly: the others show by what they are refused. */
export async function accessOf(api: Api, key: string): Promise<Access> {
  try {
    const said = await api.query.describe({});
    return {
      tenant: said.tenantId,
      keyId: said.keyId,
      permissions: new Set(WORDS.filter((word) => said.permissions.includes(word))),
      apps: said.apps.map((app) => ({
        id: app.appId,
        name: app.displayName || app.appId,
        zone: app.timeZone || "UTC",
      })),
    };
  } catch (error) {
    const refused = faultOf(error);
    if (refused.code !== Code.PermissionDenied) throw refused;
    return accessOfManager(api, key, refused);
  }
}

async function accessOfManager(api: Api, key: string, refused: Fault): Promise<Access> {
  const known = { tenant: "", keyId: keyIdOf(key), apps: [] };
  try {
    const { apps } = await api.admin.listApps({});
    const listed = apps.map((app) => ({
      id: app.appId,
      name: app.displayName || app.appId,
      zone: app.timeZone || "UTC",
    }));
    return { ...known, permissions: new Set<Permission>(["admin"]), apps: listed };
  } catch (error) {
    const again = faultOf(error);
    // An operator's key manages every tenant, so it has to say which.
    if (again.code === Code.InvalidArgument)
      return { ...known, permissions: new Set<Permission>(["operator", "admin"]) };
    throw again.code === Code.PermissionDenied
      ? fault(`There is nothing to see with this key. ${sentence(refused.message)}`)
      : again;
  }
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1) + (text.endsWith(".") ? "" : ".");
}
