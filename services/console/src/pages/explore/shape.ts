import { isNumeric, type Table } from "../../api/values";
import type { Step } from "../../lib/format";
import type { Draft, View } from "./draft";
import { namesOf, stepOf } from "./wire";

/** How an answer is drawn. */
export interface Shape {
  /** The columns that are measured; unset: those of numbers. */
  readonly names: readonly string[] | undefined;
  /** The width of its buckets, if it has any. */
  readonly step: Step | undefined;
  readonly view: View;
  /** Whether rows stand for groups. */
  readonly isGrouped: boolean;
}

export function shapeOf(draft: Draft, zone: string): Shape {
  const isGrouped = draft.by.some((field) => field !== "");
  return { names: namesOf(draft.measures), step: stepOf(draft, zone), view: draft.view, isGrouped };
}

export function namesIn({ names }: Shape, table: Table): readonly string[] {
  return names ?? table.columns.filter(isNumeric).map(({ name }) => name);
}
