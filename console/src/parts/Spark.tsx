// A line of how a figure went; where nothing is known it has a gap.

import { rate } from "../words/numbers";

interface Given {
  label: string;
  values: (number | null)[];
  width?: number;
  height?: number;
}

/** The strokes of a line: one for each stretch that is known. */
export function strokes(values: (number | null)[], width: number, height: number): string[] {
  const known = values.filter((one) => one !== null);
  const most = Math.max(...known, 0) || 1;
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  const found: string[] = [];
  let stretch: string[] = [];
  for (const [n, value] of [...values, null].entries()) {
    if (value !== null)
      stretch.push(`${(n * step).toFixed(1)},${(height - 1 - (value / most) * (height - 2)).toFixed(1)}`);
    else if (stretch.length) {
      found.push((stretch.length > 1 ? stretch : [...stretch, ...stretch]).join(" ")); // one that is alone is a point
      stretch = [];
    }
  }
  return found;
}

export function Spark({ label, values, width = 240, height = 32 }: Given) {
  return (
    <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={label} className="spark">
      {strokes(values, width, height).map((points) => (
        <polyline
          key={points}
          points={points}
          fill="none"
          stroke="currentColor"
          strokeWidth="1.5"
          strokeLinecap="round"
          vectorEffect="non-scaling-stroke"
        />
      ))}
    </svg>
  );
}

/** A rate over time with its name and with the last slot that is over, which the one that is under way is not. */
export function RateLine({ name, values, of }: { name: string; values: (number | null)[]; of: string }) {
  return (
    <div className={name === "Errors" ? "sparked failed-line" : "sparked"}>
      <span>{name}</span>
      <Spark label={`${name} of ${of} a second in the last hour`} values={values} />
      <strong>{rate(values.at(-2))}</strong>
    </div>
  );
}
