// Lines of logs as a list with the gaps in it: kept, named, found and copied. Pure.

import type { Schemas } from "../api/client";
import { plain } from "../words/ansi";

export type Line = Schemas["LogLine"];

/** Where lines are missing that are kept no more. */
export interface Gap {
  gap: string;
}

export type Entry = Line | Gap;

export const isGap = (entry: Entry): entry is Gap => "gap" in entry;

const MOST = 50_000;

/** The entries that there are and the newer ones, the newest last, and no more than may be kept. */
export function appended(entries: Entry[], newer: Line[], gap: boolean): Entry[] {
  const between: Entry[] = gap ? [{ gap: "Lines between are kept no more." }] : [];
  return [...entries, ...between, ...newer].slice(-MOST);
}

/** The job of a workload: `tenant/job#replica`. */
export const jobOf = (workload: string): string => workload.replace(/^[^/]*\//, "").replace(/#\d+$/, "");

/** The replica with its job: `job#replica`. */
export const replicaOf = (workload: string): string => workload.replace(/^[^/]*\//, "");

/** Nanoseconds since the epoch of a time in ISO 8601, by which a line is linked. */
export function nanosecondsOf(iso: string): bigint {
  const [, whole = "", fraction = "", zone = "Z"] = /^(.*?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/.exec(iso) ?? [];
  const seconds = Date.parse(`${whole}${zone}`) / 1000;
  if (Number.isNaN(seconds)) return 0n;
  return BigInt(seconds) * 1_000_000_000n + BigInt(fraction.padEnd(9, "0").slice(0, 9));
}

/** The time in ISO 8601 that is so many nanoseconds since the epoch. */
export function isoOf(nanoseconds: bigint): string {
  const seconds = nanoseconds / 1_000_000_000n;
  const rest = String(nanoseconds % 1_000_000_000n).padStart(9, "0");
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${rest}Z`;
}

/** Of an address that ends with `#at=NANOSECONDS`. */
export function linkedAt(hash: string): bigint | null {
  const found = /^#?at=(\d{1,19})$/.exec(hash)?.[1];
  return found === undefined ? null : BigInt(found);
}

/** The places of what is looked for, in any case. */
export function hits(entries: Entry[], wanted: string): number[] {
  const low = wanted.toLowerCase();
  if (!low) return [];
  return entries.flatMap((entry, n) => (!isGap(entry) && plain(entry.text).toLowerCase().includes(low) ? [n] : []));
}

/** Entries as text, as they are copied. */
export const textOf = (entries: Entry[]): string =>
  entries
    .map((entry) =>
      isGap(entry)
        ? `--- ${entry.gap}`
        : `${entry.at} ${entry.level} ${replicaOf(entry.workload)} ${plain(entry.text)}`,
    )
    .join("\n");
