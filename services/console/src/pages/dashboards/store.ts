import { clone, create, fromJson, type JsonValue, type MessageInitShape, toJsonString } from "@bufbuild/protobuf";
import { type Dashboard, DashboardSchema, type Tile, TileSchema, TileView } from "../../gen/penstock/v1/dashboards_pb";
import { EvaluationSchema } from "../../gen/penstock/v1/metrics_pb";
import { Grain, type TimeRange, TypedQuerySchema } from "../../gen/penstock/v1/query_pb";
import type { Field } from "../../lib/fields";
import type { Question } from "../../lib/follow";
import { read, write } from "../../lib/store";
import { type Draft, fromText, type View } from "../explore/draft";
import { rangeWords, stepOf } from "../explore/reverse";
import type { Shape } from "../explore/shape";
import { queryOf } from "../explore/wire";

/** What a question of the explorer is made a query with. */
export interface Ground {
  readonly fields: readonly Field[];
  /** The app's. */
  readonly zone: string;
}

const VIEWS: Record<View, TileView> = {
  line: TileView.LINE,
  bar: TileView.BAR,
  share: TileView.SHARE,
  map: TileView.MAP,
  table: TileView.TABLE,
};

export function viewOf({ view }: Tile): View {
  return (Object.keys(VIEWS) as View[]).find((name) => VIEWS[name] === view) ?? "line";
}

export function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A question of the explorer as a tile; one that is not complete yet asks nothing. */
export function tileOf(draft: Draft, title: string, { fields, zone }: Ground): Tile {
  const query = queryOf(draft, "", fields, draft.zone || zone);
  return create(TileSchema, {
    id: newId(),
    title,
    view: VIEWS[draft.view] ?? TileView.LINE,
    width: 2,
    timeZone: draft.zone,
    ...(query && { question: { case: "query", value: query } }),
  });
}

/** A tile whose question is yet to be written. */
export function newTile(sort: "sql" | "metric"): MessageInitShape<typeof TileSchema> {
  const common = { id: newId(), width: 2, view: sort === "sql" ? TileView.TABLE : TileView.LINE };
  return sort === "sql"
    ? { ...common, question: { case: sort, value: { sql: "" } } }
    : { ...common, question: { case: sort, value: { name: "", evaluation: { grain: Grain.DAY, totals: true } } } };
}

export function toView(view: View): TileView {
  return VIEWS[view];
}

/** What a tile asks of an app; `range` is the dashboard's. */
export function questionOf({ question }: Tile, range: TimeRange | undefined, appId: string): Question | undefined {
  switch (question.case) {
    case "query": {
      const value = clone(TypedQuerySchema, question.value);
      value.appId = appId;
      if (value.range === undefined && range !== undefined) value.range = range;
      return { case: "query", value };
    }
    case "sql":
      return { case: "sql", value: { sql: question.value.sql, appId } };
    case "metric": {
      const { name, version } = question.value;
      const evaluation = clone(EvaluationSchema, question.value.evaluation ?? create(EvaluationSchema));
      if (evaluation.range === undefined && range !== undefined) evaluation.range = range;
      return { case: "metric", value: { appId, name, version, evaluation } };
    }
    default:
      return undefined;
  }
}

/** How a tile's answer is drawn. */
export function shapeOfTile(tile: Tile): Shape {
  const view = viewOf(tile);
  const { question } = tile;
  switch (question.case) {
    case "query": {
      const { measures, dimensions, grain } = question.value;
      const names = measures.map(({ name, formula }) => name || formula);
      return { names, step: stepOf(grain), view, isGrouped: dimensions.length > 0 };
    }
    case "metric": {
      const { name, evaluation = create(EvaluationSchema) } = question.value;
      return { names: [name], step: stepOf(evaluation.grain), view, isGrouped: evaluation.dimensions.length > 0 };
    }
    default:
      return { names: undefined, step: undefined, view, isGrouped: true };
  }
}

/** Of which time a tile is, in words. */
export function rangeOfTile({ question }: Tile, range: TimeRange | undefined, zone: string): string {
  if (question.case === "query") return rangeWords(question.value.range ?? range, zone);
  return question.case === "metric" ? rangeWords(question.value.evaluation?.range ?? range, zone) : "";
}

/** A dashboard as a file, for another app or house too. */
export function toFile(dashboard: Dashboard): string {
  const plain = clone(DashboardSchema, dashboard);
  plain.etag = plain.updatedBy = "";
  delete plain.updatedAt;
  const text = toJsonString(DashboardSchema, plain, { useProtoFieldName: true });
  return `${JSON.stringify({ penstock: "dashboard", version: 2, ...JSON.parse(text) }, null, 2)}\n`;
}

/** A dashboard out of a file; undefined if it is none. */
export function fromFile(text: string, ground: Ground): Dashboard | undefined {
  try {
    const file: unknown = JSON.parse(text);
    if (!isObject(file)) return undefined;
    // Before the server kept dashboards, files held the explorer's questions.
    if (file.version === 1 || "id" in file) return readBoard(file, ground);
    if (file.penstock !== "dashboard" && !("dashboard_id" in file)) return undefined;
    const { penstock: _, version: __, ...plain } = file;
    const dashboard = fromJson(DashboardSchema, plain as JsonValue, { ignoreUnknownFields: true });
    return create(DashboardSchema, { ...dashboard, dashboardId: dashboard.dashboardId || newId(), etag: "" });
  } catch {
    return undefined;
  }
}

function nameOf(tenant: string, appId: string): string {
  return `penstock.boards.${tenant}.${appId}`;
}

/** What lies in this browser from before the server kept dashboards. */
export function leftHere(tenant: string, appId: string): readonly unknown[] {
  try {
    const kept: unknown = JSON.parse(read(window.localStorage, nameOf(tenant, appId)) ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
}

export function leaveHere(tenant: string, appId: string, boards: readonly unknown[]) {
  write(window.localStorage, nameOf(tenant, appId), boards.length === 0 ? null : JSON.stringify(boards));
}

/** A dashboard as browsers kept it; undefined if it is none. */
export function readBoard(value: unknown, ground: Ground): Dashboard | undefined {
  if (!isObject(value) || typeof value.title !== "string" || !Array.isArray(value.tiles)) return undefined;
  return create(DashboardSchema, {
    dashboardId: typeof value.id === "string" && /^[\w-]{1,64}$/.test(value.id) ? value.id : newId(),
    title: value.title,
    tiles: value.tiles.flatMap((tile: unknown) => readTile(tile, ground) ?? []),
  });
}

function readTile(value: unknown, ground: Ground): Tile | undefined {
  if (!isObject(value) || typeof value.question !== "string") return undefined;
  const draft = fromText(value.question === "" ? null : value.question);
  const tile = tileOf(draft, typeof value.title === "string" ? value.title : "", ground);
  return create(TileSchema, {
    ...tile,
    id: typeof value.id === "string" && /^[\w-]{1,64}$/.test(value.id) ? value.id : tile.id,
    width: value.width === 1 || value.width === 4 ? value.width : 2,
  });
}

/** Without what asks nothing: the server takes what can be asked. */
export function whole(dashboard: Dashboard): Dashboard {
  return create(DashboardSchema, {
    ...dashboard,
    tiles: dashboard.tiles.filter(({ question }) => question.case !== undefined),
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
