// Numbers as people read them.

const whole = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumSignificantDigits: 3 });

export const count = (value: number): string => (Math.abs(value) < 100_000 ? whole.format(value) : short.format(value));

/** A rate; what is not known is a dash, never 0. */
export function rate(value: number | null | undefined, unit = "/s"): string {
  if (value === null || value === undefined) return "–";
  return `${value >= 100 ? short.format(value) : value.toFixed(value >= 10 || value === 0 ? 0 : 1)}${unit}`;
}

/** `1 workload`, `3 workloads`. */
export const counted = (value: number, one: string, many = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : many}`;
