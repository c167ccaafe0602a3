import { timestampDate } from "@bufbuild/protobuf/wkt";
import { type Key, KeyKind } from "../gen/penstock/v1/admin_pb";

/** Whether calls with it are let in. */
export function isGood({ revokedAt, expiresAt }: Key): boolean {
  return revokedAt === undefined && (expiresAt === undefined || timestampDate(expiresAt) > new Date());
}

/** Whether it signs embed tokens, and calls nothing itself. */
export function signs({ kind }: Key): boolean {
  return kind === KeyKind.EDDSA || kind === KeyKind.HS256;
}
