// In which order rows stand, and which of them wait to be shown. Pure.

export type Key = string | number | null | undefined;

export interface Order {
  title: string;
  down: boolean;
}

const words = new Intl.Collator(undefined, { numeric: true });

/** Rows by a key; those without one come last, whichever way the others go. Equal ones stay as they were. */
export function sorted<Row>(rows: Row[], key: (row: Row) => Key, down: boolean): Row[] {
  const sign = down ? -1 : 1;
  const missing = (one: Key) => one === null || one === undefined || one === "";
  return rows
    .map((row) => [row, key(row)] as const)
    .sort(([, a], [, b]) => {
      if (missing(a) || missing(b)) return Number(missing(a)) - Number(missing(b));
      if (typeof a === "number" && typeof b === "number") return sign * (a - b);
      return sign * words.compare(String(a), String(b));
    })
    .map(([row]) => row);
}

/** The next order when a title is pressed: upwards, downwards, as it came. */
export function turned(now: Order | null, title: string): Order | null {
  if (now?.title !== title) return { title, down: false };
  return now.down ? null : { title, down: true };
}

/** Of rows that come newest first: those from the first that was seen on, and how many newer ones wait above it. */
export function waiting<Row>(rows: Row[], id: (row: Row) => string, seen: ReadonlySet<string>): [Row[], number] {
  const first = rows.findIndex((row) => seen.has(id(row)));
  return first <= 0 ? [rows, 0] : [rows.slice(first), first];
}
