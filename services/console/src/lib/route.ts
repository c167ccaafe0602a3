import { useSyncExternalStore } from "react";

/** Where in the console somebody is: a page, and what it shows, all of it in the address so that it can be sent to others. */
export interface Place {
  readonly page: string;
  readonly params: URLSearchParams;
}

const BASE = "/console/";
const listeners = new Set<() => void>();
let current = placeOf(window.location);

function placeOf(location: Location): Place {
  const page = location.pathname.startsWith(BASE) ? location.pathname.slice(BASE.length) : "";
  return { page, params: new URLSearchParams(location.search) };
}

function moved() {
  current = placeOf(window.location);
  for (const listener of listeners) listener();
}

window.addEventListener("popstate", moved);

export function href(page: string, params: Record<string, string> = {}): string {
  const search = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== "")).toString();
  return `${BASE}${page}${search === "" ? "" : `?${search}`}`;
}

export function go(page: string, params: Record<string, string> = {}, how: "push" | "replace" = "push") {
  const to = href(page, params);
  if (to === `${window.location.pathname}${window.location.search}`) return;
  if (how === "push") window.history.pushState(null, "", to);
  else window.history.replaceState(null, "", to);
  moved();
}

export function usePlace(): Place {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => current,
  );
}
