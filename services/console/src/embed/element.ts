import { Code } from "@connectrpc/connect";
import type uPlot from "uplot";
import plot from "uplot/dist/uPlot.min.css?inline";
import { connect } from "../api/client";
import { type Fault, faultOf } from "../api/fault";
import { type Table, tableOf } from "../api/values";
import { element } from "../charts/dom";
import { draw } from "../charts/plot";
import { follow } from "../lib/follow";
import { instant, withUnit } from "../lib/format";
import { bars, overTime, type Parted, parted, placesOf } from "../pages/explore/pivot";
import { namesOf, queryOf, stepOf } from "../pages/explore/wire";
import tokens from "../styles/tokens.css?inline";
import { type Attributes, draftOf, NAMES, readAttributes } from "./attributes";
import css from "./element.css?inline";
import { barList, legend } from "./parts";

const sheet = new CSSStyleSheet();
sheet.replaceSync(
  [
    tokens.replaceAll('[data-theme="dark"]', ':host([theme="dark"])').replaceAll(/(?<!-):root/g, ":host"),
    plot,
    css,
  ].join("\n"),
);

const INTERVAL_MS = 2_000;
const METRIC_MS = 30_000;

/**
 * `<penstock-chart token app metric|formula by range grain view label>`: a chart of what a token may see, on any page. The page gives a new `token`
 * when the element says `penstock-unauthenticated`, which bubbles.
 */
export class PenstockChart extends HTMLElement {
  static readonly observedAttributes: readonly string[] = NAMES;
  private readonly root = this.attachShadow({ mode: "open" });
  private abort: AbortController | undefined;
  private drawn: uPlot | undefined;
  private resized: ResizeObserver | undefined;
  private isAsked = false;

  connectedCallback() {
    this.root.adoptedStyleSheets = [sheet];
    this.ask();
  }

  disconnectedCallback() {
    this.abort?.abort();
    this.clear();
  }

  attributeChangedCallback() {
    this.ask();
  }

  /** Once for all attributes that change together. */
  private ask() {
    if (this.isAsked || !this.isConnected) return;
    this.isAsked = true;
    queueMicrotask(() => {
      this.isAsked = false;
      this.abort?.abort();
      this.abort = new AbortController();
      const asked = readAttributes(this, new URL(import.meta.url).origin);
      if (typeof asked === "string") this.say(asked, "wrong");
      else void this.answer(asked, this.abort.signal);
    });
  }

  private async answer(asked: Attributes, signal: AbortSignal) {
    this.say("Loading…");
    const draft = draftOf(asked);
    const query = queryOf(draft, asked.app, [], asked.zone);
    if (query === undefined) return this.say(`There is no range "${asked.range}".`, "wrong");
    const api = connect(asked.token, asked.server);
    const show = (table: Table) => this.show(asked, parted(table));
    if (asked.metric === "") {
      await follow(api, { case: "query", value: query }, asked.zone, INTERVAL_MS, signal, ({ table, fault }) => {
        if (signal.aborted) return;
        if (fault !== undefined) this.fail(fault);
        else if (table !== undefined) show(table);
      });
      return;
    }
    const { dimensions, range, grain, fill, top, totals, orderBy } = query;
    const evaluation = {
      dimensions,
      ...(range ? { range } : {}),
      grain,
      fill,
      ...(top ? { top } : {}),
      totals,
      orderBy,
    };
    while (!signal.aborted) {
      try {
        const said = await api.metrics.evaluate(
          { appId: asked.app, name: asked.metric, evaluation, options: { timeZone: asked.zone } },
          { signal },
        );
        show(tableOf(said.result));
      } catch (error) {
        if (!signal.aborted) this.fail(faultOf(error));
        return;
      }
      await new Promise((resolve) => window.setTimeout(resolve, METRIC_MS));
    }
  }

  private show(asked: Attributes, { rows, totals }: Parted) {
    const draft = draftOf(asked);
    const names = namesOf(draft.measures);
    const place = placesOf(rows, names).measures[0] ?? -1;
    const { unit = "" } = rows.columns[place] ?? {};
    const total = totals?.[place];
    const head = element(
      "header",
      {},
      element("h2", {}, asked.label),
      typeof total === "number" ? element("p", { class: "total" }, withUnit(total, unit)) : "",
    );
    const step = stepOf(draft, asked.zone);
    this.clear();
    if (rows.rows.length === 0 || total === null)
      return this.put(head, element("p", { class: "state" }, "No data in this time"));
    if (asked.view === "number") return this.put(head);
    if (step === undefined) return this.put(head, barList(bars(rows, names, asked.zone)));
    const data = overTime(rows, names, step, asked.zone);
    const [from, to] = [data.times[0] ?? 0, data.times.at(-1) ?? 0].map((ms) => instant(new Date(ms), asked.zone));
    const box = element("div", { class: "plot", role: "img", "aria-label": `${asked.label}, ${from} to ${to}` });
    this.put(head, box, legend(data.series));
    const height = Number(this.getAttribute("height")) || 220;
    this.drawn = draw(
      box,
      data,
      asked.view === "bar" ? "columns" : asked.view === "share" ? "share" : "line",
      height,
      asked.theme,
      () => undefined,
    );
    this.resized = new ResizeObserver(() => this.drawn?.setSize({ width: box.clientWidth, height }));
    this.resized.observe(box);
  }

  private fail(fault: Fault) {
    if (fault.code === Code.Unauthenticated) {
      this.dispatchEvent(new CustomEvent("penstock-unauthenticated", { bubbles: true, composed: true }));
    }
    this.say(fault.message, "wrong");
  }

  private say(text: string, kind = "") {
    this.clear();
    this.put(element("p", { class: `state ${kind}`, role: kind === "" ? "status" : "alert" }, text));
  }

  private put(...nodes: Node[]) {
    this.root.replaceChildren(...nodes);
  }

  private clear() {
    this.resized?.disconnect();
    this.drawn?.destroy();
    this.drawn = undefined;
  }
}

if (customElements.get("penstock-chart") === undefined) customElements.define("penstock-chart", PenstockChart);
