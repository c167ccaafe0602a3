import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb";

/** One field at fault, and what would be right. */
export interface Violation {
  readonly field: string;
  readonly description: string;
}

/** Where in a text a fault is, in UTF-8 bytes. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** What went wrong, in words for the person who asked. */
export interface Fault {
  readonly code: Code;
  readonly reason: string;
  readonly message: string;
  readonly violations: readonly Violation[];
  readonly span: Span | undefined;
  readonly retryMs: number | undefined;
}

const WORDS: Partial<Record<Code, string>> = {
  [Code.Unavailable]: "The server can't be reached. Check that it runs, then try again.",
  [Code.DeadlineExceeded]: "The answer took too long. Ask for a shorter range or fewer groups.",
};

/** Whatever was thrown, in words; a Fault stays one. */
export function faultOf(error: unknown): Fault {
  if (isFault(error)) return error;
  const cause = ConnectError.from(error);
  const info = cause.findDetails(ErrorInfoSchema)[0];
  const violations = cause.findDetails(BadRequestSchema).flatMap((detail) => detail.fieldViolations);
  const delay = cause.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const isNetwork = cause.code === Code.Unknown && info === undefined;
  const code = isNetwork ? Code.Unavailable : cause.code;
  return {
    code,
    reason: info?.reason ?? "",
    message: (info === undefined ? WORDS[code] : undefined) ?? (cause.rawMessage || "The call failed."),
    violations: violations.map(({ field, description }) => ({ field, description })),
    span: spanOf(info?.metadata.position),
    retryMs: delay ? Number(delay.seconds) * 1000 + delay.nanos / 1e6 : undefined,
  };
}

/** A plain fault of the console's own. */
export function fault(message: string): Fault {
  return { code: Code.Unknown, reason: "", message, violations: [], span: undefined, retryMs: undefined };
}

function isFault(error: unknown): error is Fault {
  return typeof error === "object" && error !== null && "violations" in error && "span" in error;
}

export function isAborted(error: unknown): boolean {
  return ConnectError.from(error).code === Code.Canceled;
}

function spanOf(position: string | undefined): Span | undefined {
  const [start, end] = (position ?? "").split("-").map(Number);
  return start !== undefined && end !== undefined && Number.isFinite(start + end) ? { start, end } : undefined;
}

/** The span in UTF-16 units, as JavaScript counts, kept within the text and never empty. */
export function inText(text: string, span: Span): Span {
  const bytes = new TextEncoder().encode(text);
  const units = (at: number) => new TextDecoder().decode(bytes.subarray(0, at)).length;
  const start = Math.min(units(span.start), text.length);
  const end = Math.min(Math.max(units(span.end), start + 1), text.length);
  return start === end ? { start: Math.max(0, end - 1), end } : { start, end };
}
