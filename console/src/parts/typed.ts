// What was typed and not sent yet, for as long as the tab lives: who looks at another page loses nothing of it.

import { read } from "../words/exact";

const PREFIX = "sluice.typed.";

export function typedBefore(place: string): Record<string, unknown> | null {
  try {
    return read(sessionStorage.getItem(PREFIX + place) ?? "null") as Record<string, unknown> | null;
  } catch {
    return null; // a browser that keeps nothing has nothing
  }
}

/** Keep it; with null, forget it. */
export function keepTyped(place: string, value: Record<string, unknown> | null): void {
  try {
    if (value) sessionStorage.setItem(PREFIX + place, JSON.stringify(value));
    else sessionStorage.removeItem(PREFIX + place);
  } catch {
    // the page itself has it for as long as it is open
  }
}

/** Forget all of it: whoever signs in next in this tab may be somebody else. */
export function forgetTyped(): void {
  try {
    for (const key of Object.keys(sessionStorage)) if (key.startsWith(PREFIX)) sessionStorage.removeItem(key);
  } catch {
    // nothing was kept
  }
}
