import type { Step } from "../lib/format";

/** What a chart over time shows, in the order of importance. */
export interface Series {
  readonly name: string;
  readonly unit: string;
  readonly values: readonly (number | null)[];
  /** Which colour it has; that of what it is compared with is the same. */
  readonly colour: number;
  readonly isBefore?: boolean;
}

export interface OverTime {
  /** Starts of buckets, UTC ms, ascending. */
  readonly times: readonly number[];
  readonly series: readonly Series[];
  readonly step: Step | undefined;
  readonly zone: string;
}
