// Ages and times. Ages are told by the clock of the server, whose last answer says how far the browser's is off.

const RIGHT_MS = 10_000; // an answer is on its way for seconds on a busy machine, and its Date has no fractions
let offset = 0;

/** Note the Date header of an answer: the clock of a browser may be wrong by hours. */
export function heard(date: string | null): void {
  const off = date ? Date.parse(date) - Date.now() : Number.NaN;
  if (!Number.isNaN(off)) offset = Math.abs(off) > RIGHT_MS ? off : 0;
}

export const now = (): number => Date.now() + offset;

const UNITS: [number, string][] = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
  [1000, "s"],
];

/** `3 min`, `2 h`, `5 d`: the largest unit alone. */
export function span(ms: number): string {
  const [size, unit] = UNITS.find(([least]) => Math.abs(ms) >= least) ?? [1000, "s"];
  return `${Math.round(Math.abs(ms) / size)} ${unit}`;
}

/** `3 min ago`, `in 5 s`, `now`. */
export function ago(iso: string, from = now()): string {
  const ms = from - Date.parse(iso);
  if (Number.isNaN(ms)) return iso;
  if (Math.abs(ms) < 1000) return "now";
  return ms > 0 ? `${span(ms)} ago` : `in ${span(ms)}`;
}

/** The time in full, in the zone of the browser, which is named. */
export function full(iso: string): string {
  return new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" }).format(new Date(iso));
}
