import { useSyncExternalStore } from "react";
import { read, write } from "./store";

export type Theme = "light" | "dark";

const NAME = "penstock.theme";
const asked = window.matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();

function chosen(): Theme | undefined {
  const kept = read(window.localStorage, NAME);
  return kept === "light" || kept === "dark" ? kept : undefined;
}

function current(): Theme {
  return chosen() ?? (asked.matches ? "dark" : "light");
}

/** Puts the theme on the page; charts draw themselves anew. */
export function applyTheme() {
  document.documentElement.dataset.theme = current();
  for (const listener of listeners) listener();
}

/** Calls it with the theme, now and whenever it changes. */
export function onTheme(listener: (theme: Theme) => void) {
  listeners.add(() => listener(current()));
  listener(current());
}

asked.addEventListener("change", applyTheme);

export function toggleTheme() {
  write(window.localStorage, NAME, current() === "dark" ? "light" : "dark");
  applyTheme();
}

export function useTheme(): Theme {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, current);
}
