import { useSyncExternalStore } from "react";
import { read, write } from "./store";

const NAME = "penstock.letters";
const listeners = new Set<() => void>();
// Also where nothing can be kept: then until the page is left.
let areOn = read(window.localStorage, NAME) !== "off";

/** Whether single letters are shortcuts. Who dictates, or presses keys unmeant, can do without them: WCAG 2.1.4. */
export function useLettersOn(): boolean {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => areOn,
  );
}

export function switchLetters(on: boolean) {
  areOn = on;
  write(window.localStorage, NAME, on ? null : "off");
  for (const listener of listeners) listener();
}
