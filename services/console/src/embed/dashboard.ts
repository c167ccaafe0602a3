import { Code, ConnectError } from "@connectrpc/connect";
import { type Api, connect } from "../api/client";
import { type Fault, faultOf } from "../api/fault";
import { element } from "../charts/dom";
import type { Dashboard, Tile } from "../gen/penstock/v1/dashboards_pb";
import type { TimeRange } from "../gen/penstock/v1/query_pb";
import { fieldsOf } from "../lib/fields";
import { follow } from "../lib/follow";
import { isZone } from "../lib/zone";
import { fromFile, type Ground, questionOf, rangeOfTile, shapeOfTile } from "../pages/dashboards/store";
import { parted } from "../pages/explore/pivot";
import { Asking } from "./asking";
import { Picture } from "./picture";

const NAMES = ["token", "server", "app", "dashboard", "src", "time-zone", "theme", "height"] as const;
const INTERVAL_MS = 2_000;
/** What the server knows a dashboard by; a dashboard itself is in braces. */
const ID = /^[\w-]{1,64}$/;

/**
 * `<penstock-dashboard token app dashboard|src time-zone theme height>`: a dashboard that the server keeps, or that was exported from the console, with
 * what a token may see; its tiles follow their events. The page gives a new `token` when the element says `penstock-unauthenticated`, which bubbles.
 */
export class PenstockDashboard extends Asking {
  static readonly observedAttributes: readonly string[] = NAMES;
  private readonly box = element("div", { class: "whole" });
  private readonly whole = new Picture(this.box);
  private pictures = new Map<string, Picture>();
  private shown = "";

  override connectedCallback() {
    this.root.replaceChildren(this.box);
    super.connectedCallback();
  }

  /** The id of one that the server keeps and the token names; or the dashboard itself, as text or as what JSON.parse made of it. */
  set dashboard(value: unknown) {
    this.setAttribute("dashboard", typeof value === "string" ? value : JSON.stringify(value));
  }

  get dashboard(): string | null {
    return this.getAttribute("dashboard");
  }

  private text(name: (typeof NAMES)[number]): string {
    return this.getAttribute(name)?.trim() ?? "";
  }

  protected async answer(signal: AbortSignal) {
    const [token, app, zone] = [this.text("token"), this.text("app"), this.text("time-zone")];
    if (token === "") return this.say("The attribute token is missing.");
    if (app === "") return this.say("The attribute app is missing.");
    if (zone !== "" && !isZone(zone)) return this.say(`There is no time zone "${zone}".`);
    if (this.pictures.size === 0) this.whole.say("Loading…");
    const api = connect(token, this.text("server") || new URL(import.meta.url).origin);
    try {
      const ground = await groundOf(api, app, signal);
      const dashboard = await this.read(api, app, ground, signal);
      if (signal.aborted) return;
      if (typeof dashboard === "string") return this.say(dashboard);
      if (dashboard.tiles.length === 0) return this.say("This dashboard has no tiles. Add some in the console.");
      this.lay(dashboard);
      const told = { isTold: false };
      for (const tile of dashboard.tiles)
        void this.follow(api, tile, dashboard.range, app, zone || ground.zone, signal, told);
    } catch (error) {
      if (signal.aborted) return;
      const fault = faultOf(error);
      this.empty();
      this.refused(fault);
      this.whole.fail(fault);
    }
  }

  /** The dashboard that the server keeps, or out of the page or from its address; a sentence if there is none. */
  private async read(api: Api, app: string, ground: Ground, signal: AbortSignal): Promise<Dashboard | string> {
    const src = this.text("src");
    let text = this.text("dashboard");
    if ((text === "") === (src === "")) return "Say either dashboard or src.";
    if (ID.test(text)) {
      const { dashboard } = await api.dashboards.getDashboard({ appId: app, dashboardId: text }, { signal });
      return dashboard ?? "The server gave no dashboard.";
    }
    if (src !== "") {
      try {
        const answer = await fetch(new URL(src, document.baseURI), { signal });
        if (!answer.ok) return `There is no dashboard at ${src}: the server says ${answer.status}.`;
        text = await answer.text();
      } catch {
        return `The dashboard at ${src} can't be fetched. Check the address and the page's connect-src.`;
      }
    }
    return (
      fromFile(text, ground) ??
      "This is no dashboard. Say the id of one in the console, or take the file that its Export gives."
    );
  }

  /** A place for each tile; those that are there already stay as they are. */
  private lay(board: Dashboard) {
    const next = JSON.stringify(board.tiles.map(({ id, width }) => [id, width]));
    if (this.pictures.size > 0 && next === this.shown) return;
    this.empty();
    this.shown = next;
    const tiles = board.tiles.map((tile) => {
      const place = element("section", { class: `tile width-${tile.width}`, "aria-label": tile.title });
      this.pictures.set(tile.id, new Picture(place));
      return place;
    });
    this.whole.clear();
    this.box.replaceChildren(element("div", { class: "board", role: "group", "aria-label": board.title }, ...tiles));
  }

  private async follow(
    api: Api,
    tile: Tile,
    range: TimeRange | undefined,
    app: string,
    appZone: string,
    signal: AbortSignal,
    told: { isTold: boolean },
  ) {
    const picture = this.pictures.get(tile.id);
    const { title: label } = tile;
    const zone = tile.timeZone || appZone;
    const question = questionOf(tile, range, app);
    if (picture === undefined) return;
    if (question === undefined)
      return picture.say("This tile asks for nothing yet. Complete its question in the console.", "wrong");
    if (picture.isEmpty) picture.say("Loading…");
    const theme = this.text("theme") === "dark" ? ("dark" as const) : ("light" as const);
    const subject = {
      shape: shapeOfTile(tile),
      zone,
      label,
      theme,
      height: Number(this.text("height")) || 200,
      isNumber: false,
      note: rangeOfTile(tile, range, zone),
    };
    await follow(api, question, zone, INTERVAL_MS, signal, ({ table, fault }) => {
      if (signal.aborted) return;
      if (fault !== undefined) {
        if (!told.isTold) told.isTold = this.refused(fault);
        picture.fail(fault);
      } else if (table !== undefined) picture.show(subject, parted(table));
    });
  }

  /** Says to the page that the token is over, if it is; once, not for each tile. */
  private refused({ code }: Fault): boolean {
    if (code !== Code.Unauthenticated) return false;
    this.dispatchEvent(new CustomEvent("penstock-unauthenticated", { bubbles: true, composed: true }));
    return true;
  }

  private say(text: string) {
    this.empty();
    this.whole.say(text, "wrong");
  }

  protected empty() {
    for (const picture of this.pictures.values()) picture.clear();
    this.pictures = new Map();
    this.shown = "";
  }
}

/** Which fields hold text decides how filters and groups of an older file are asked for. */
async function groundOf(api: Api, appId: string, signal: AbortSignal): Promise<Ground> {
  try {
    const described = await api.query.describe({ appId }, { signal });
    const own = described.apps.find((one) => one.appId === appId)?.timeZone;
    return { fields: fieldsOf(described), zone: own || "UTC" };
  } catch (error) {
    // A token that evaluates metrics and does nothing else isn't told.
    if (ConnectError.from(error).code === Code.PermissionDenied) return { fields: [], zone: "UTC" };
    throw error;
  }
}

if (customElements.get("penstock-dashboard") === undefined)
  customElements.define("penstock-dashboard", PenstockDashboard);
