// What screen readers say when something came to its end: one polite region that every page shares (Frame).

import { useSyncExternalStore } from "react";

let said = "";
const heard = new Set<() => void>();

export function announce(text: string): void {
  said = text;
  for (const tell of heard) tell();
}

function subscribe(tell: () => void) {
  heard.add(tell);
  return () => void heard.delete(tell);
}

export const useAnnounced = (): string => useSyncExternalStore(subscribe, () => said);
