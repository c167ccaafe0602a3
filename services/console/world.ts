import { createRequire } from "node:module";
import { geoEqualEarth, geoPath } from "d3-geo";
import { feature } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import type { Plugin } from "vite";

const require = createRequire(import.meta.url);
/** Of the drawing, in its own units: two to a pixel of a map that is 960 wide. */
const WIDTH = 1_920;
/** Countries whose shape is smaller, in square units, are drawn as a dot that a pointer can meet. */
const DOT = 60;
const NAME = "virtual:world";

interface Names {
  numericToAlpha2(code: string): string | undefined;
  alpha2ToAlpha3(code: string): string | undefined;
  getAlpha2Codes(): Record<string, string>;
  getNames(language: string, options: { select: "all" }): Record<string, string[]>;
  registerLocale(locale: unknown): void;
}

/**
 * The module `virtual:world`: the countries as paths that are drawn already, so that the browser needs neither their geography nor what projects it.
 * Shapes are Natural Earth's (public domain) in an equal-area projection.
 */
export function world(): Plugin {
  return {
    name: "world",
    resolveId: (id) => (id === NAME ? `\0${NAME}` : undefined),
    load: (id) => (id === `\0${NAME}` ? text() : undefined),
  };
}

function text(): string {
  const codes: Names = require("i18n-iso-countries");
  codes.registerLocale(require("i18n-iso-countries/langs/en.json"));
  const topology: Topology<{
    countries: GeometryCollection<{ name: string }>;
  }> = require("world-atlas/countries-50m.json");
  const shapes = feature(topology, topology.objects.countries).features.filter(({ id }) => id !== "010");
  const collection = { type: "FeatureCollection" as const, features: shapes };
  const projection = geoEqualEarth().fitWidth(WIDTH, collection);
  const path = geoPath(projection).digits(0);
  const height = Math.ceil(path.bounds(collection)[1][1]);

  const drawn = new Map<string, string>();
  const ground: string[] = [];
  for (const shape of shapes) {
    const code =
      shape.properties.name === "Kosovo" ? "XK" : shape.id === undefined ? "" : codes.numericToAlpha2(String(shape.id));
    const [x, y] = path.centroid(shape).map(Math.round);
    const dot = path.area(shape) < DOT && code ? `M${x} ${y}m-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0` : "";
    const d = dot || compact(path(shape) ?? "");
    // Some land is nobody's, or is not told apart by a code of its own.
    if (!code) ground.push(d);
    else drawn.set(code, (drawn.get(code) ?? "") + d);
  }
  const names = codes.getNames("en", { select: "all" });
  const uses = new Map<string, number>();
  for (const name of Object.values(names).flat()) uses.set(name, (uses.get(name) ?? 0) + 1);
  const countries = Object.keys(codes.getAlpha2Codes()).map((code) => [
    code,
    codes.alpha2ToAlpha3(code) ?? "",
    // A name that two countries go by names neither.
    (names[code] ?? []).filter((name) => uses.get(name) === 1),
    drawn.get(code) ?? "",
  ]);
  return `export default ${JSON.stringify({ width: WIDTH, height, ground: ground.join(""), countries })};`;
}

/** A path in relative steps, without those that go nowhere. */
function compact(d: string): string {
  return d
    .split("Z")
    .map((ring) => {
      const points = (ring.match(/-?\d+,-?\d+/g) ?? []).map((pair) => pair.split(",").map(Number) as [number, number]);
      let [x, y] = points[0] ?? [0, 0];
      const steps = points.slice(1).flatMap(([toX, toY]) => {
        const step = [toX - x, toY - y];
        [x, y] = [toX, toY];
        return step[0] === 0 && step[1] === 0 ? [] : [step.join(" ")];
      });
      return steps.length < 3 ? "" : `M${points[0]?.join(" ")}l${steps.join(" ")}z`.replaceAll(" -", "-");
    })
    .join("");
}
