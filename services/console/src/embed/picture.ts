import { Code } from "@connectrpc/connect";
import type uPlot from "uplot";
import type { Fault } from "../api/fault";
import { numberOf } from "../api/values";
import { element } from "../charts/dom";
import { drawMap } from "../charts/map";
import { draw, pointerIn, resize } from "../charts/plot";
import { byCountry, loadWorld } from "../charts/world";
import { change, instant, withUnit } from "../lib/format";
import type { Theme } from "../lib/theme";
import { bars, overTime, type Parted } from "../pages/explore/pivot";
import { namesIn, type Shape } from "../pages/explore/shape";
import { barList, dataTable, legend, tooltip } from "./parts";

/** What a picture is of. */
export interface Subject {
  readonly shape: Shape;
  readonly zone: string;
  readonly label: string;
  readonly theme: Theme;
  /** Of the plot, in pixels. */
  readonly height: number;
  /** The totals alone. */
  readonly isNumber: boolean;
  /** Beside the heading: of which time it is. */
  readonly note?: string;
}

const ADVICE: Partial<Record<Code, string>> = {
  [Code.Unauthenticated]: "The page has to give a new token.",
  [Code.PermissionDenied]: "The token has to allow it, or the question has to ask for less.",
  [Code.InvalidArgument]: "Mend the question where it was made.",
  [Code.ResourceExhausted]: "Ask for a shorter range or fewer groups, or try again later.",
};

/** An answer under a heading, drawn into a box; or a sentence in place of it. */
export class Picture {
  private drawn: uPlot | undefined;
  private resized: ResizeObserver | undefined;
  private map: { readonly box: HTMLElement; readonly show: ReturnType<typeof drawMap> } | undefined;
  private shown: Parted | undefined;

  constructor(private readonly box: Element | ShadowRoot) {}

  get isEmpty(): boolean {
    return this.shown === undefined;
  }

  show(subject: Subject, answer: Parted) {
    const { shape, zone, label, theme, height } = subject;
    const { view, isGrouped } = shape;
    const { rows, totals } = answer;
    this.shown = answer;
    const names = namesIn(shape, rows);
    const head = this.head(subject, names, answer);
    const step = subject.isNumber ? undefined : shape.step;
    const pointer = this.drawn && pointerIn(this.drawn);
    this.release();
    if (rows.rows.length === 0 || totals?.every((value) => value === null))
      return this.put(head, element("p", { class: "state" }, "No data in this time. It comes as events arrive."));
    if (subject.isNumber || (step === undefined && !isGrouped)) return this.put(head);
    if (view === "map") return void this.showMap(head, names, subject, answer);
    if (view === "table") return this.put(head, dataTable(rows, zone, step, label));
    if (step === undefined) return this.put(head, barList(bars(rows, names, zone)));
    const data = overTime(rows, names, step, zone);
    const [from, to] = [data.times[0] ?? 0, data.times.at(-1) ?? 0].map((ms) => instant(new Date(ms), zone));
    const box = element("div", { role: "img", "aria-label": `${label}, ${from} to ${to}` });
    const several = view === "line" ? data.series : data.series.filter((one) => !one.isBefore);
    // One alone goes by the heading, whatever formula it is.
    const series = several.length > 1 || isGrouped ? several : several.map((one) => ({ ...one, name: label }));
    const tip = tooltip({ ...data, series });
    this.put(head, element("div", { class: "plot" }, box, tip.node), legend(series));
    const drawing = view === "bar" ? "columns" : view === "share" ? "share" : "line";
    const drawn = draw(box, { ...data, series }, drawing, height, theme, tip.show, pointer);
    this.drawn = drawn;
    this.resized = new ResizeObserver(() => resize(drawn, box.clientWidth, height));
    this.resized.observe(box);
  }

  /** What went wrong, and what to do about it. */
  fail({ code, message }: Fault) {
    this.say([message, ADVICE[code] ?? ""].filter((text) => text !== "").join(" "), "wrong");
  }

  say(text: string, kind = "") {
    this.clear();
    this.put(element("p", { class: `state ${kind}`, role: kind === "" ? "status" : "alert" }, text));
  }

  clear() {
    this.shown = undefined;
    this.map = undefined;
    this.release();
  }

  private head({ label, note }: Subject, names: readonly string[], { rows, totals }: Parted): HTMLElement {
    const of = (name: string) => {
      const place = rows.columns.findIndex((column) => column.name === name);
      return { value: place < 0 ? null : numberOf(totals?.[place]), unit: rows.columns[place]?.unit ?? "" };
    };
    const figures = names.flatMap((name) => {
      const [now, before] = [of(name), of(`${name}_before`)];
      if (now.value === null) return [];
      const figure = element("p", { class: "total" }, withUnit(now.value, now.unit));
      if (before.value !== null) figure.append(element("small", {}, change(now.value, before.value)));
      if (names.length > 1) figure.prepend(element("small", { class: "name" }, name));
      return [figure];
    });
    return element(
      "header",
      {},
      element("h2", {}, label, note ? element("small", {}, note) : ""),
      figures.length > 0 ? element("div", { class: "totals" }, ...figures) : "",
    );
  }

  /** On the map that is there already, so that it keeps its focus. */
  private async showMap(head: HTMLElement, names: readonly string[], { label }: Subject, answer: Parted) {
    try {
      const world = await loadWorld();
      // Another answer may have come in the meantime.
      if (this.shown !== answer) return;
      if (this.map === undefined || !this.map.box.isConnected) {
        const box = element("div", { class: "map-box" });
        this.map = { box, show: drawMap(box, world) };
        this.put(head, box);
      } else this.map.box.previousElementSibling?.replaceWith(head);
      this.map.show(byCountry(answer.rows, names, world), label);
    } catch {
      if (this.shown === answer) this.say("The map didn't come. Check that the server can be reached.", "wrong");
    }
  }

  private put(...nodes: Node[]) {
    this.box.replaceChildren(...nodes);
  }

  private release() {
    this.resized?.disconnect();
    this.drawn?.destroy();
    this.drawn = undefined;
  }
}
