/** What goes wrong, by type: every error has a code, a reason, the fields at fault and when to come again. */
import { Code, ConnectError } from "@connectrpc/connect";

import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

const DOMAIN = "penstock";

/** A field at fault. */
export interface Violation {
  /** Its path, as in "query.measures[0].formula". */
  readonly field: string;
  /** The rule that it breaks, as in "SYNTAX". */
  readonly reason: string;
  /** What is wrong and what would be right. */
  readonly description: string;
}

/** What is known of an error beside its message. */
export interface ErrorDetails {
  /** As `PenstockError.reason`. Default: empty. */
  readonly reason?: string;
  /** As `PenstockError.violations`. Default: none. */
  readonly violations?: readonly Violation[];
  /** As `PenstockError.retryAfterMs`. */
  readonly retryAfterMs?: number | undefined;
  /** As `PenstockError.position`. */
  readonly position?: readonly [number, number] | undefined;
  /** The transport's error. */
  readonly cause?: unknown;
}

/** A call that failed. The subclass says how; each is named as its gRPC code. */
export class PenstockError extends Error {
  /** The gRPC code, as in "INVALID_ARGUMENT". */
  readonly code: string;
  /** What went wrong, as a stable name such as INVALID_QUERY; empty where no server said it. */
  readonly reason: string;
  /** The fields at fault. */
  readonly violations: readonly Violation[];
  /** After how many milliseconds a retry can succeed, if the server said so. */
  readonly retryAfterMs: number | undefined;
  /** Where in a query's text the fault is, in bytes of UTF-8: start and end. */
  readonly position: readonly [number, number] | undefined;

  /** An error of a gRPC code. The clients make them; a test may, too. */
  constructor(code: string, message: string, details: ErrorDetails = {}) {
    const violations = details.violations ?? [];
    const faults = violations.map((v) => `\n  ${v.field}: ${v.description}`).join("");
    super(`${code}: ${message}${faults}`, { cause: details.cause });
    this.name = new.target.name;
    this.code = code;
    this.reason = details.reason ?? "";
    this.violations = violations;
    this.retryAfterMs = details.retryAfterMs;
    this.position = details.position;
  }

  /** Whether the same call may succeed later. */
  get retryable(): boolean {
    // What the transport breaks, it calls by many names; what Penstock itself says has a reason.
    const broken = this.reason === "" && ["INTERNAL", "UNKNOWN", "CANCELED", "ABORTED"].includes(this.code);
    return broken || ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"].includes(this.code);
  }
}

/** What was sent breaks a rule: `violations` say which field, and what would be right. */
export class InvalidArgument extends PenstockError {}
/** The key is missing, unknown, revoked or over. */
export class Unauthenticated extends PenstockError {}
/** The key may not do this. */
export class PermissionDenied extends PenstockError {}
/** There is no such app or metric. */
export class NotFound extends PenstockError {}
/** Something else came first. */
export class Conflict extends PenstockError {}
/** A quota is used up, or the server is too busy: `retryAfterMs` says when to come again. */
export class ResourceExhausted extends PenstockError {}
/** It took longer than its timeout. */
export class DeadlineExceeded extends PenstockError {}
/** The server can't be reached, or can't answer now. */
export class Unavailable extends PenstockError {}
/** The queue has no room, and the client was made with `whenFull: "throw"`. */
export class QueueFull extends ResourceExhausted {}
/** The client was closed. */
export class Closed extends PenstockError {}

const KINDS: Partial<Record<Code, typeof PenstockError>> = {
  [Code.InvalidArgument]: InvalidArgument,
  [Code.Unauthenticated]: Unauthenticated,
  [Code.PermissionDenied]: PermissionDenied,
  [Code.NotFound]: NotFound,
  [Code.Aborted]: Conflict,
  [Code.ResourceExhausted]: ResourceExhausted,
  [Code.DeadlineExceeded]: DeadlineExceeded,
  [Code.Unavailable]: Unavailable,
};

/** A failed call as an error of ours, with the details that the server gave. */
export function fromRpc(cause: unknown): PenstockError {
  if (cause instanceof PenstockError) return cause;
  const error = ConnectError.from(cause);
  const info = error.findDetails(ErrorInfoSchema).find((info) => info.domain === DOMAIN);
  const [bad] = error.findDetails(BadRequestSchema);
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const [start, end] = (info?.metadata["position"] ?? "").split("-").map(Number);
  const Kind = KINDS[error.code] ?? PenstockError;
  const code = (Code[error.code] ?? "Unknown").replace(/(?<!^)([A-Z])/g, "_$1").toUpperCase();
  return new Kind(code, error.rawMessage, {
    reason: info?.reason ?? "",
    violations: (bad?.fieldViolations ?? []).map(({ field, reason, description }) => ({ field, reason, description })),
    retryAfterMs: delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6,
    position: start !== undefined && end !== undefined ? [start, end] : undefined,
    cause,
  });
}
