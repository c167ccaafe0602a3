import { cssOf, inkOn, mixed, type Rgb, readable, rgbOf } from "./color";
import { onTheme, type Theme } from "./theme";

/** How the product shows itself to who comes by this host. */
export interface Brand {
  readonly name: string;
  /** Whether it is somebody's own product, who may not know ours. */
  readonly isOwn: boolean;
  readonly logoUrl: string | undefined;
  readonly iconUrl: string | undefined;
  readonly supportUrl: string | undefined;
  readonly docsUrl: string | undefined;
  readonly primary: Rgb | undefined;
}

/** A page without its colours beats one that waits for them. */
const PATIENCE_MS = 1_500;
const GROUNDS: Record<Theme, Rgb> = { light: [244, 246, 247], dark: [15, 21, 26] };

let current = brandOf({});

export function brand(): Brand {
  return current;
}

function brandOf(set: Record<string, unknown>): Brand {
  const text = (name: string) => (typeof set[name] === "string" && set[name] !== "" ? set[name] : undefined);
  return {
    name: text("product_name") ?? "Penstock",
    isOwn: text("product_name") !== undefined,
    logoUrl: text("logo_url"),
    iconUrl: text("icon_url"),
    supportUrl: text("support_url"),
    docsUrl: text("docs_url"),
    primary: rgbOf(text("primary_color") ?? ""),
  };
}

/** Asks the server, and puts what it says on the page. */
export async function loadBrand() {
  try {
    const answer = await fetch("/v1/branding:host", { signal: AbortSignal.timeout(PATIENCE_MS) });
    const { branding } = (await answer.json()) as { branding?: Record<string, unknown> };
    if (answer.ok) current = brandOf(branding ?? {});
  } catch {
    // The server is away, which every page says in its own words.
  }
  document.title = current.name;
  const icon = document.querySelector<HTMLLinkElement>("link[rel=icon]");
  if (icon !== null && current.iconUrl !== undefined) {
    icon.removeAttribute("type");
    icon.href = current.iconUrl;
  }
  onTheme(paint);
}

/** Colours of the brand as far as they can be read: on the ground of each theme they are darker or lighter if they must be. */
function paint(theme: Theme) {
  const { primary } = current;
  if (primary === undefined) return;
  const [ground, style] = [GROUNDS[theme], document.documentElement.style];
  const accent = readable(primary, ground);
  style.setProperty("--accent", cssOf(accent));
  style.setProperty("--accent-2", cssOf(mixed(accent, theme === "light" ? [0, 0, 0] : [255, 255, 255], 0.85)));
  style.setProperty("--on-accent", cssOf(inkOn(accent)));
  style.setProperty("--focus", cssOf(accent));
  style.setProperty("--chosen", cssOf(mixed(accent, ground, 0.16)));
}
