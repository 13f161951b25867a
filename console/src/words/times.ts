// Ages and times. Ages are told by the clock of the server, whose last answer says how far the browser's is off.

const RIGHT_MS = 10_000; // an answer is on its way for seconds on a busy machine, and its Date has no fractions
let offset = 0;
let zone: string | undefined; // of the browser, where none is said

/** Note the Date header of an answer: the clock of a browser may be wrong by hours. */
export function heard(date: string | null): void {
  const off = date ? Date.parse(date) - Date.now() : Number.NaN;
  if (!Number.isNaN(off)) offset = Math.abs(off) > RIGHT_MS ? off : 0;
}

export const now = (): number => Date.now() + offset;

/** In which zone times are told from now on; nothing: that of the browser. */
export function tellIn(wanted: string | undefined): void {
  zone = wanted;
}

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

const formats = new Map<string, Intl.DateTimeFormat>();

/** To make one takes a hundred times as long as to use it, and a page tells hundreds of times. */
function format(language: string | undefined, parts: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${language} ${JSON.stringify(parts)}`;
  const known = formats.get(key) ?? new Intl.DateTimeFormat(language, parts);
  formats.set(key, known);
  return known;
}

/** The time in full, with its zone named. */
export function full(iso: string): string {
  return format(undefined, { dateStyle: "medium", timeStyle: "long", timeZone: zone }).format(new Date(iso));
}

/** `14:03:07`, with milliseconds `14:03:07.120`. */
export function clock(iso: string, milliseconds = false): string {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return iso;
  const parts = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZone: zone } as const;
  const text = format("en-GB", parts).format(at);
  return milliseconds ? `${text}.${String(at.getMilliseconds()).padStart(3, "0")}` : text;
}

/** `2026-11-28`: the day of a moment. */
export const dayOf = (at: Date): string =>
  format("en-CA", { year: "numeric", month: "2-digit", day: "2-digit", timeZone: zone }).format(at);

/** `Sat, Nov 28` of `2026-11-28`. */
export const dayName = (day: string): string =>
  format(undefined, { weekday: "short", month: "short", day: "numeric", timeZone: "UTC" }).format(
    new Date(`${day}T00:00:00Z`),
  );

/** The zone that times are told in, by its name. */
export const zoneName = (): string => zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
