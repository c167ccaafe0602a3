import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { connect } from "../api/client";
import type { Fault } from "../api/fault";
import { EvaluationSchema } from "../gen/penstock/v1/metrics_pb";
import { follow, type Question } from "../lib/follow";
import { parted } from "../pages/explore/pivot";
import { shapeOf } from "../pages/explore/shape";
import { queryOf } from "../pages/explore/wire";
import { Asking } from "./asking";
import { type Attributes, draftOf, NAMES, readAttributes } from "./attributes";
import { Picture } from "./picture";

const INTERVAL_MS = 2_000;

/**
 * `<penstock-chart token app metric|formula by range grain view label>`: a chart of what a token may see, on any page. The page gives a new `token`
 * when the element says `penstock-unauthenticated`, which bubbles.
 */
export class PenstockChart extends Asking {
  static readonly observedAttributes: readonly string[] = NAMES;
  private readonly picture = new Picture(this.root);

  protected empty() {
    this.picture.clear();
  }

  protected async answer(signal: AbortSignal) {
    const asked = readAttributes(this, new URL(import.meta.url).origin);
    if (typeof asked === "string") this.picture.say(asked, "wrong");
    else await this.draw(asked, signal);
  }

  private async draw(asked: Attributes, signal: AbortSignal) {
    // What is there stays until its successor comes.
    if (this.picture.isEmpty) this.picture.say("Loading…");
    const draft = draftOf(asked);
    const query = queryOf(draft, asked.app, [], asked.zone);
    if (query === undefined) return this.picture.say(`There is no range "${asked.range}".`, "wrong");
    const api = connect(asked.token, asked.server);
    const height = Number(this.getAttribute("height")) || 220;
    const subject = { ...asked, shape: shapeOf(draft, asked.zone), height, isNumber: asked.view === "number" };
    const { dimensions, range, grain, fill, top, totals, orderBy } = query;
    const evaluation = create(EvaluationSchema, {
      dimensions,
      ...(range ? { range } : {}),
      grain,
      fill,
      ...(top ? { top } : {}),
      totals,
      orderBy,
    });
    const question: Question =
      asked.metric === ""
        ? { case: "query", value: query }
        : { case: "metric", value: { appId: asked.app, name: asked.metric, version: 0, evaluation } };
    await follow(api, question, asked.zone, INTERVAL_MS, signal, ({ table, fault }) => {
      if (signal.aborted) return;
      if (fault !== undefined) this.fail(fault);
      else if (table !== undefined) this.picture.show(subject, parted(table));
    });
  }

  private fail(fault: Fault) {
    if (fault.code === Code.Unauthenticated) {
      this.dispatchEvent(new CustomEvent("penstock-unauthenticated", { bubbles: true, composed: true }));
    }
    this.picture.fail(fault);
  }
}

if (customElements.get("penstock-chart") === undefined) customElements.define("penstock-chart", PenstockChart);
