import { type CSSProperties, createElement, type ReactElement, useCallback, useEffect, useRef, useState } from "react";

/** An embed token, or how to get one: asked for at first, and again when one is over. */
export type Token = string | (() => string | Promise<string>);

export interface EmbedProps {
  /** Where Penstock is, an origin: "https://analytics.example.com". The elements come from there. */
  readonly server: string;
  /** The app's id. */
  readonly app: string;
  readonly token: Token;
  readonly theme?: "light" | "dark";
  /** IANA name of the zone in which days begin. */
  readonly timeZone?: string;
  /** Of each plot, in pixels. */
  readonly height?: number;
  readonly className?: string;
  /** Also custom properties: `--series-1`, `--font`. */
  readonly style?: CSSProperties;
  /** The token is over and `token` gives no other. */
  readonly onUnauthenticated?: () => void;
}

export type Grain = "auto" | "none" | "minute" | "hour" | "day" | "week" | "month" | "quarter" | "year";

type Measure =
  | { readonly formula: string; readonly metric?: never }
  /** A metric by its name. */
  | { readonly metric: string; readonly formula?: never };

export type ChartProps = EmbedProps &
  Measure & {
    /** Fields or properties to group by. */
    readonly by?: readonly string[];
    /** "7d", "month", or two times with a slash between, as docs/embedding.md lists them. Default: "7d". */
    readonly range?: string;
    readonly grain?: Grain;
    readonly view?: "line" | "bar" | "share" | "map" | "table" | "number";
    readonly label?: string;
  };

export type DashboardProps = EmbedProps &
  (
    | { readonly src: string; readonly dashboard?: never }
    /** The id of one that the server keeps and the token names; or what the console's Export gives, as text or parsed. */
    | { readonly dashboard: unknown; readonly src?: never }
  );

/** `<penstock-chart>`: a chart that follows its events. */
export function PenstockChart({ by, range, grain, view, label, formula, metric, ...embed }: ChartProps): ReactElement {
  return useElement("penstock-chart", embed, { by: by?.join(","), range, grain, view, label, formula, metric });
}

/** `<penstock-dashboard>`: a dashboard whose tiles follow their events. */
export function PenstockDashboard({ dashboard, src, ...embed }: DashboardProps): ReactElement {
  const text = dashboard === undefined || typeof dashboard === "string" ? dashboard : JSON.stringify(dashboard);
  return useElement("penstock-dashboard", embed, { dashboard: text, src });
}

/** A token that is refused sooner than this after it was got isn't got again: another would be no better. */
const PATIENCE_MS = 5_000;

function useElement(
  name: string,
  { server, app, token, theme, timeZone, height, className, style, onUnauthenticated }: EmbedProps,
  attributes: Readonly<Record<string, string | undefined>>,
): ReactElement {
  const [got, setGot] = useState<string>();
  const [fault, setFault] = useState("");
  const element = useRef<HTMLElement>(null);
  const latest = useRef({ token, onUnauthenticated, gotAt: Number.NEGATIVE_INFINITY });
  latest.current = { ...latest.current, token, onUnauthenticated };
  const isAsked = typeof token !== "string";

  const get = useCallback(async () => {
    const { token: source, onUnauthenticated: tell, gotAt } = latest.current;
    if (typeof source === "string" || performance.now() - gotAt < PATIENCE_MS) return tell?.();
    latest.current.gotAt = performance.now();
    try {
      const next = await source();
      setGot(next);
      // Also where it is the one that it had: the element is to try again.
      element.current?.setAttribute("token", next);
      setFault("");
    } catch (error) {
      setFault(
        `There is no token: ${error instanceof Error ? error.message : String(error)}. Reload the page to try again.`,
      );
    }
  }, []);

  useEffect(() => {
    if (isAsked) void get();
  }, [isAsked, get]);

  useEffect(() => {
    const script = load(new URL(`/console/${name}.js`, server).href);
    const failed = () => setFault(`Nothing can be shown: ${server} can't be reached. Reload the page to try again.`);
    script.addEventListener("error", failed);
    return () => script.removeEventListener("error", failed);
  }, [name, server]);

  const given = isAsked ? got : token;
  const isThere = given !== undefined && fault === "";
  useEffect(() => {
    const shown = element.current;
    if (!isThere || shown === null) return;
    const refused = () => void get();
    shown.addEventListener("penstock-unauthenticated", refused);
    return () => shown.removeEventListener("penstock-unauthenticated", refused);
  }, [isThere, get]);

  if (!isThere) {
    const role = fault === "" ? "status" : "alert";
    return createElement("p", { className, style, role }, fault || "Loading…");
  }
  return createElement(name, {
    ...attributes,
    server,
    app,
    theme,
    token: given,
    "time-zone": timeZone,
    height: height?.toString(),
    // Elements of one's own take the attribute's name, in React 18 too.
    class: className,
    style,
    ref: element,
  });
}

const scripts = new Map<string, HTMLScriptElement>();

/** The script of an element, once on a page. */
function load(src: string): HTMLScriptElement {
  const there = scripts.get(src);
  if (there !== undefined) return there;
  const script = document.createElement("script");
  script.type = "module";
  script.src = src;
  script.crossOrigin = "anonymous";
  // Whoever shows the next one tries again.
  script.addEventListener("error", () => scripts.delete(src));
  scripts.set(src, script);
  document.head.append(script);
  return script;
}
