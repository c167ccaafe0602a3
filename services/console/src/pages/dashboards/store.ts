import { read, write } from "../../lib/store";
import { type Draft, fromText, toText } from "../explore/draft";

export interface Tile {
  readonly id: string;
  readonly title: string;
  readonly draft: Draft;
  /** How many of the board's four columns it takes. */
  readonly width: 1 | 2 | 4;
}

export interface Board {
  readonly id: string;
  readonly title: string;
  readonly tiles: readonly Tile[];
}

/** The server has no place for dashboards yet: they are the browser's, for each tenant and app, and go elsewhere as files. */
function nameOf(tenant: string, appId: string): string {
  return `penstock.boards.${tenant}.${appId}`;
}

export function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function boardsOf(tenant: string, appId: string): readonly Board[] {
  try {
    const kept: unknown = JSON.parse(read(window.localStorage, nameOf(tenant, appId)) ?? "[]");
    return Array.isArray(kept) ? kept.flatMap((board) => readBoard(board) ?? []) : [];
  } catch {
    return [];
  }
}

export function keepBoards(tenant: string, appId: string, boards: readonly Board[]): boolean {
  return write(
    window.localStorage,
    nameOf(tenant, appId),
    boards.length === 0 ? null : JSON.stringify(boards.map(plain)),
  );
}

/** A board as a file. */
export function toFile(board: Board): string {
  return `${JSON.stringify({ penstock: "dashboard", version: 1, ...plain(board) }, null, 2)}\n`;
}

/** A board out of a file, under an id of its own; undefined if it is none. */
export function fromFile(text: string): Board | undefined {
  try {
    const board = readBoard(JSON.parse(text));
    return board && { ...board, id: newId() };
  } catch {
    return undefined;
  }
}

/** Questions stand in it as in the explorer's address. */
function plain({ id, title, tiles }: Board) {
  return { id, title, tiles: tiles.map(({ draft, ...tile }) => ({ ...tile, question: toText(draft) })) };
}

function readBoard(value: unknown): Board | undefined {
  if (!isObject(value) || typeof value.title !== "string" || !Array.isArray(value.tiles)) return undefined;
  const id = typeof value.id === "string" ? value.id : newId();
  return { id, title: value.title, tiles: value.tiles.flatMap((tile: unknown) => readTile(tile) ?? []) };
}

function readTile(value: unknown): Tile | undefined {
  if (!isObject(value) || typeof value.question !== "string") return undefined;
  const width = value.width === 1 || value.width === 4 ? value.width : 2;
  return {
    id: typeof value.id === "string" ? value.id : newId(),
    title: typeof value.title === "string" ? value.title : "",
    draft: fromText(value.question === "" ? null : value.question),
    width,
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
