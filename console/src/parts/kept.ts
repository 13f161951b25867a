// What a browser keeps of how somebody likes to look at things. It holds nothing of the engine's.

import { useSyncExternalStore } from "react";

const heard = new Set<() => void>();

function subscribe(tell: () => void) {
  heard.add(tell);
  window.addEventListener("storage", tell); // another tab of this browser
  return () => {
    heard.delete(tell);
    window.removeEventListener("storage", tell);
  };
}

const placeOf = (name: string): string => `sluice.${name}`;

/** What is kept by a name; a browser that keeps nothing (private windows may) has what was said last, or nothing. */
const said = new Map<string, string>();

export function keptNow(name: string): string {
  try {
    return localStorage.getItem(placeOf(name)) ?? "";
  } catch {
    return said.get(name) ?? "";
  }
}

export function keep(name: string, text: string): void {
  said.set(name, text);
  try {
    if (text) localStorage.setItem(placeOf(name), text);
    else localStorage.removeItem(placeOf(name));
  } catch {
    // `said` has it for as long as the page is open
  }
  for (const tell of heard) tell();
}

/** A text that this browser keeps, and a way to change it. */
export function useKept(name: string): [string, (text: string) => void] {
  const text = useSyncExternalStore(subscribe, () => keptNow(name));
  return [text, (now) => keep(name, now)];
}
