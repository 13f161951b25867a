// What was typed and not saved is kept in this browser, so that a crash loses nothing; it is offered on return.

export interface Copy {
  text: string;
  /** The revision of the draft that the edit started from. */
  base: number;
  /** When, in ISO 8601. */
  at: string;
}

type Store = Pick<Storage, "getItem" | "setItem" | "removeItem">;

export const nameOf = (tenant: string, kind: string, slug: string) => `sluice-copy:${tenant}/${kind}/${slug}`;

/** Keep a copy. False when the browser has no room for it, which has to be said. */
export function keep(name: string, copy: Copy, store: Store = localStorage): boolean {
  try {
    store.setItem(name, JSON.stringify(copy));
    return true;
  } catch {
    return false;
  }
}

/** The copy that is there, when it is one and says something else than what is saved. */
export function find(name: string, saved: string, store: Store = localStorage): Copy | null {
  let said: unknown;
  try {
    said = JSON.parse(store.getItem(name) ?? "null");
  } catch {
    return null; // not ours
  }
  if (!said || typeof said !== "object") return null;
  const { text, base, at } = said as Partial<Copy>;
  if (typeof text !== "string" || typeof base !== "number" || typeof at !== "string" || text === saved) return null;
  return { text, base, at };
}

export function forget(name: string, store: Store = localStorage): void {
  try {
    store.removeItem(name);
  } catch {
    // a browser that keeps nothing has nothing to forget
  }
}
