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

function wanted(): Theme {
  return chosen() ?? (asked.matches ? "dark" : "light");
}

// Kept, as Chromium swallows the change of a preference that is read before the change is told: drawings ask all the time.
let theme = wanted();

function current(): Theme {
  return theme;
}

/** Puts the theme on the page; charts draw themselves anew. */
export function applyTheme() {
  theme = wanted();
  document.documentElement.dataset.theme = theme;
  for (const listener of listeners) listener();
}

/** Calls it with the theme, now and whenever it changes. */
export function onTheme(listener: (theme: Theme) => void) {
  listeners.add(() => listener(theme));
  listener(theme);
}

asked.addEventListener("change", applyTheme);

export function toggleTheme() {
  write(window.localStorage, NAME, theme === "dark" ? "light" : "dark");
  applyTheme();
}

export function useTheme(): Theme {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, current);
}
