import { withUnit } from "../lib/format";
import { element } from "./dom";
import { type ByCountry, type Country, shadeOf, shades, type World } from "./world";

const SVG = "http://www.w3.org/2000/svg";
const STEPS: Readonly<Record<string, number>> = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
const NAMED = 3;

function drawing(name: string, attributes: Readonly<Record<string, string>>): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/**
 * A map of the world in an element, a legend, and the same as a table. What it gives shows another answer on the same map, so that it keeps its focus.
 * The map is one stop of the tab key; arrows go from country to country, the greatest first.
 */
export function drawMap(box: HTMLElement, world: World): (data: ByCountry, label: string) => void {
  const svg = drawing("svg", { viewBox: `0 0 ${world.width} ${world.height}`, role: "group" });
  const ring = drawing("path", { class: "ring" });
  const tip = element("p", { class: "map-tip", "aria-hidden": "true", hidden: "" });
  const [legend, note] = [element("ul", { class: "map-legend" }), element("p", { class: "map-note" })];
  const list = element("section", { class: "map-list", tabindex: "0" });
  const paths = new Map<Element, Country>();
  const shapes = new Map<string, SVGElement>();
  svg.append(drawing("path", { class: "ground", d: world.ground }));
  for (const country of world.countries) {
    if (country.path === "") continue;
    const path = drawing("path", { d: country.path });
    svg.append(path);
    paths.set(path, country);
    shapes.set(country.code, path);
  }
  svg.append(ring);
  box.replaceChildren(
    element("div", { class: "map" }, element("div", { class: "map-plane" }, svg, tip), legend, note, list),
  );

  let texts = new Map<string, string>();
  let order: readonly SVGElement[] = [];
  let told: Element | null = null;
  const say = (path: Element | null, at?: MouseEvent) => {
    told = path;
    const country = path === null ? undefined : paths.get(path);
    tip.hidden = country === undefined;
    ring.setAttribute("d", country?.path ?? "");
    if (country === undefined || path === null) return;
    tip.replaceChildren(element("strong", {}, country.name), ` ${texts.get(country.code) ?? "no data"}`);
    const plane = svg.getBoundingClientRect();
    const shape = path.getBoundingClientRect();
    const x = (at?.clientX ?? shape.x + shape.width / 2) - plane.x;
    tip.style.top = `${((at?.clientY ?? shape.y) - plane.y) * (100 / plane.height)}%`;
    const share = (x / plane.width) * 100;
    tip.style.left = share > 50 ? "" : `calc(${share}% + 12px)`;
    tip.style.right = share > 50 ? `calc(${100 - share}% + 12px)` : "";
  };
  const choose = (path: SVGElement | undefined, isFocused: boolean) => {
    for (const one of order) one.setAttribute("tabindex", one === path ? "0" : "-1");
    if (isFocused) path?.focus();
  };
  svg.addEventListener("pointermove", (event) => say(event.target as Element, event));
  svg.addEventListener("pointerleave", () => say(null));
  svg.addEventListener("focusin", (event) => say(event.target as Element));
  svg.addEventListener("focusout", () => say(null));
  svg.addEventListener("keydown", (event) => {
    const from = order.indexOf(event.target as SVGElement);
    const step = STEPS[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? order.length - 1 : from + (step ?? Number.NaN);
    if (from < 0 || Number.isNaN(to)) return;
    event.preventDefault();
    choose(order[Math.min(Math.max(to, 0), order.length - 1)], true);
  });

  return ({ placed, unplaced, unit, measure }, label) => {
    const text = (value: number | null) => (value === null ? "–" : withUnit(value, unit));
    const begins = shades(placed.flatMap(({ value }) => value ?? []));
    const was = order.find((path) => path.getAttribute("tabindex") === "0");
    texts = new Map(placed.map(({ country, value }) => [country.code, text(value)]));
    const values = new Map(placed.map(({ country, value }) => [country.code, value]));
    for (const [path, { code, name }] of paths) {
      const value = values.get(code);
      const isThere = value !== undefined;
      path.setAttribute("class", isThere && value !== null ? `shade-${shadeOf(value, begins)}` : "");
      path.setAttribute("aria-hidden", String(!isThere));
      if (isThere) {
        path.setAttribute("role", "img");
        path.setAttribute("aria-label", `${name}: ${text(value)}`);
      } else for (const attribute of ["role", "aria-label", "tabindex"]) path.removeAttribute(attribute);
    }
    order = placed.flatMap(({ country }) => shapes.get(country.code) ?? []);
    if (told !== null) say(told);
    choose(was !== undefined && order.includes(was) ? was : order[0], false);
    svg.setAttribute("aria-label", `${label}, as a map. Arrow keys go from country to country.`);
    legend.replaceChildren(
      ...begins.map((begin, i) => {
        const shade = element("i", { class: `shade-${shadeOf(begin, begins)}` });
        const next = begins[i + 1];
        return element(
          "li",
          {},
          shade,
          next === undefined ? `${text(begin)} and more` : `${text(begin)} – ${text(next)}`,
        );
      }),
      ...(placed.length > 0 ? [element("li", {}, element("i", {}), "no data")] : []),
    );
    const names = unplaced.map(({ name }) => name);
    note.hidden = names.length === 0;
    note.textContent = `Not on the map: ${names.slice(0, NAMED).join(", ")}${names.length > NAMED ? ` and ${names.length - NAMED} more` : ""}. The list has the numbers.`;
    const row = (name: string, value: number | null) =>
      element("tr", {}, element("th", { scope: "row" }, name), element("td", { class: "number" }, text(value)));
    const part = (title: string, rows: HTMLElement[]) => {
      if (rows.length === 0) return "";
      const head = element(
        "tr",
        {},
        element("th", { scope: "col" }, title),
        element("th", { scope: "col", class: "number" }, measure),
      );
      return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
    };
    list.setAttribute("aria-label", `${label}, by country`);
    list.replaceChildren(
      ...[
        part(
          "Country",
          placed.map(({ country, value }) => row(country.name, value)),
        ),
        part(
          "Not on the map",
          unplaced.map(({ name, value }) => row(name, value)),
        ),
      ].filter((made) => made !== ""),
    );
  };
}
