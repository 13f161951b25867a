// Numbers as people read them.

const whole = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumSignificantDigits: 3 });

export const count = (value: number): string => (Math.abs(value) < 100_000 ? whole.format(value) : short.format(value));

/** A rate; what is not known is a dash, never 0, and what comes seldom is told by the minute. */
export function rate(value: number | null | undefined, unit = "/s"): string {
  if (value === null || value === undefined) return "–";
  if (value > 0 && value < 0.1 && unit === "/s") return rate(value * 60, "/min");
  return `${value >= 100 ? short.format(value) : value.toFixed(value >= 10 || value === 0 ? 0 : 1)}${unit}`;
}

/** `1 workload`, `3 workloads`. */
export const counted = (value: number, one: string, many = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : many}`;

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

/** `512 B`, `1.5 MiB`. */
export function bytes(value: number): string {
  const power = Math.min(SIZES.length - 1, Math.floor(Math.log2(Math.max(1, value)) / 10));
  const scaled = value / 1024 ** power;
  return `${scaled.toFixed(power && scaled < 100 ? 1 : 0)} ${SIZES[power]}`;
}
