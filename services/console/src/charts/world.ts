import type { Table } from "../api/values";
import { numberOf } from "../api/values";
import { placesOf } from "../pages/explore/pivot";

export interface Country {
  readonly code: string;
  readonly name: string;
  /** Empty if it is too small for the map, or drawn as a part of another. */
  readonly path: string;
}

export interface World {
  readonly width: number;
  readonly height: number;
  readonly ground: string;
  readonly countries: readonly Country[];
  /** The country that goes by a code (ISO 3166-1, two letters or three) or an English name. */
  of(text: string): Country | undefined;
}

let loaded: Promise<World> | undefined;

/** The world, which is fetched when a map is first looked at. */
export function loadWorld(): Promise<World> {
  loaded ??= import("virtual:world").then(({ default: made }) => worldOf(made));
  loaded.catch(() => {
    loaded = undefined;
  });
  return loaded;
}

function worldOf({ countries: rows, ...drawing }: typeof import("virtual:world")["default"]): World {
  const shown = new Intl.DisplayNames("en", { type: "region", fallback: "none" });
  const known = new Map<string, Country>();
  const countries = rows.map(([code, alpha3, names, path]) => {
    const country = { code, name: shown.of(code) ?? names[0] ?? code, path };
    for (const text of [...names, country.name, code, alpha3]) known.set(plain(text), country);
    return country;
  });
  return { ...drawing, countries, of: (text) => known.get(plain(text)) };
}

function plain(text: string): string {
  return text
    .normalize("NFD")
    .replaceAll(/\p{M}/gu, "")
    .replaceAll(/[^\p{L}\p{N}]+/gu, " ")
    .trim()
    .toLowerCase();
}

export interface Placed {
  readonly country: Country;
  readonly value: number | null;
}

/** An answer by country: what is on the map, the greatest first, and what isn't, under the name that it has. */
export interface ByCountry {
  readonly unit: string;
  readonly measure: string;
  readonly placed: readonly Placed[];
  readonly unplaced: readonly { readonly name: string; readonly value: number | null }[];
}

export function byCountry(table: Table, names: readonly string[], world: World): ByCountry {
  const { dimensions, measures } = placesOf(table, names);
  const [dimension = -1, measure = -1] = [dimensions[0], measures[0]];
  const placed = new Map<string, Placed>();
  const unplaced: { name: string; value: number | null }[] = [];
  for (const row of table.rows) {
    const text = row[dimension];
    const value = numberOf(row[measure]);
    const country = typeof text === "string" ? world.of(text) : undefined;
    if (country === undefined) {
      unplaced.push({ name: text === null || text === "" ? "(none)" : String(text), value });
    } else if (country.path === "" || placed.has(country.code)) {
      // The same country under two names isn't added up: of distinct users that would be wrong.
      unplaced.push({ name: country.path === "" ? country.name : `${text} (${country.name}, again)`, value });
    } else placed.set(country.code, { country, value });
  }
  const down = (a: { value: number | null }, b: { value: number | null }) =>
    (b.value ?? -Infinity) - (a.value ?? -Infinity) || 0;
  return {
    unit: table.columns[measure]?.unit ?? "",
    measure: names[0] ?? "",
    placed: [...placed.values()].sort(down),
    unplaced: unplaced.sort(down),
  };
}

/** How many shades there are; styles/tokens.css has them as --shade-1 to --shade-5. */
const SHADES = 5;

/** Where the shades begin: each has about as many countries, and each begin is a number that can be read. Ascending; the first is the least value. */
export function shades(values: readonly number[]): number[] {
  const sorted = [...new Set(values)].sort((a, b) => a - b);
  if (sorted.length <= SHADES) return sorted;
  const begins = Array.from({ length: SHADES }, (_, i) => {
    const value = sorted[Math.floor((i * sorted.length) / SHADES)] ?? 0;
    return i === 0 ? value : Number(value.toPrecision(2));
  });
  return begins.filter((value, i) => i === 0 || value > (begins[i - 1] ?? 0));
}

/** Which shade a value has: 1 is the palest of as many as there are. */
export function shadeOf(value: number, begins: readonly number[]): number {
  const at = Math.max(
    0,
    begins.findLastIndex((begin) => value >= begin),
  );
  return begins.length === 1 ? SHADES : 1 + Math.round((at * (SHADES - 1)) / (begins.length - 1));
}
