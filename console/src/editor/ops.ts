// What an edit means for the values of a document. Pure; patch.ts makes edits of the text of them.

import type { Path } from "./project";

export type Op =
  | { do: "set"; at: Path; value: unknown }
  | { do: "remove"; at: Path }
  /** An item of the list at `at`, which may be missing; at its end when no index is given. */
  | { do: "add"; at: Path; value: unknown; index?: number | undefined }
  /** The key at `at` of its map. */
  | { do: "rename"; at: Path; key: string }
  /** An item of the list at `at`. */
  | { do: "move"; at: Path; from: number; to: number };

type Json = Record<string | number, unknown>;

/** The values after an edit; those before stay as they are. */
export function applied(data: unknown, op: Op): unknown {
  if (op.do === "add")
    return within(data, op.at, (list) => {
      const items = Array.isArray(list) ? [...list] : [];
      items.splice(op.index ?? items.length, 0, op.value);
      return items;
    });
  if (op.do === "move")
    return within(data, op.at, (list) => {
      if (!Array.isArray(list)) return list;
      const items = [...list];
      items.splice(op.to, 0, ...items.splice(op.from, 1));
      return items;
    });
  const key = op.at.at(-1) ?? "";
  return within(data, op.at.slice(0, -1), (owner) => {
    if (Array.isArray(owner)) {
      const items = [...owner];
      if (op.do === "set") items[Number(key)] = op.value;
      else if (op.do === "remove") items.splice(Number(key), 1);
      return items;
    }
    const map: Json = owner && typeof owner === "object" ? { ...(owner as Json) } : {};
    if (op.do === "set") map[key] = op.value;
    else if (op.do === "remove") delete map[key];
    else return Object.fromEntries(Object.entries(map).map(([name, value]) => [name === key ? op.key : name, value]));
    return map;
  });
}

function within(data: unknown, path: Path, change: (value: unknown) => unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return change(data);
  if (Array.isArray(data)) return data.map((one, n) => (n === Number(key) ? within(one, rest, change) : one));
  const map: Json = data && typeof data === "object" ? { ...(data as Json) } : {};
  map[key] = within(map[key], rest, change);
  return map;
}

/** Whether two values say the same; the order of keys says nothing. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (!a || !b || typeof a !== "object" || typeof b !== "object") return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const [left, right] = [Object.entries(a), b as Json];
  return (
    left.length === Object.keys(b).length &&
    left.every(([key, value]) => Object.hasOwn(b, key) && same(value, right[key]))
  );
}
