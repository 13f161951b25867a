// One series over time as a line; where nothing is known there is no line. The same as a table for who cannot see it.

import "./Chart.css";
import { rate } from "../words/numbers";
import { clock, dayOf, full } from "../words/times";

export interface Point {
  at: number;
  value: number | null;
}

interface Given {
  label: string;
  unit: string;
  points: Point[];
}

const WIDTH = 800;
const HEIGHT = 200;
const PAD = 8;

/** The path of a line through what is known, in a box of WIDTH x HEIGHT whose top is `most`. */
export function pathOf(points: Point[], most: number): string {
  const [first, last] = [points[0]?.at ?? 0, points.at(-1)?.at ?? 1];
  const x = (at: number) => ((at - first) / (last - first || 1)) * WIDTH;
  const y = (value: number) => HEIGHT - PAD - (value / (most || 1)) * (HEIGHT - 2 * PAD);
  let draws = false;
  return points
    .map(({ at, value }) => {
      if (value === null) {
        draws = false;
        return "";
      }
      const step = `${draws ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}${draws ? "" : "h0"}`; // a dot
      draws = true;
      return step;
    })
    .join("");
}

const DAY_MS = 86_400_000;
const clockOf = (at: number, long: boolean) => {
  const time = clock(new Date(at).toISOString()).slice(0, 5);
  return long ? `${dayOf(new Date(at))} ${time}` : time;
};

export function Chart({ label, unit, points }: Given) {
  const known = points.filter((point): point is { at: number; value: number } => point.value !== null);
  const most = Math.max(0, ...known.map(({ value }) => value));
  const last = known.at(-1);
  if (!last) return <p className="quiet">Nothing is known of this time.</p>;
  const [from, to] = [points[0]?.at ?? 0, points.at(-1)?.at ?? 0];
  const said = `${label}: last ${rate(last.value, unit)}, at most ${rate(most, unit)}`;
  return (
    <figure className="chart">
      <figcaption>{said}</figcaption>
      <div className="plot">
        <div className="scale quiet" aria-hidden="true">
          <span>{rate(most, unit)}</span>
          <span>0</span>
        </div>
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={said}>
          {[0, 0.5, 1].map((part) => (
            <line
              key={part}
              x1="0"
              x2={WIDTH}
              y1={PAD + part * (HEIGHT - 2 * PAD)}
              y2={PAD + part * (HEIGHT - 2 * PAD)}
              className="grid"
            />
          ))}
          <path d={pathOf(points, most)} className="line-of" />
          {points.map(({ at, value }, place) => (
            <rect
              key={at}
              x={(place / points.length) * WIDTH}
              y="0"
              width={WIDTH / points.length}
              height={HEIGHT}
              fill="transparent"
            >
              <title>{`${full(new Date(at).toISOString())}: ${rate(value, unit)}`}</title>
            </rect>
          ))}
        </svg>
        <div />
        <div className="times quiet" aria-hidden="true">
          <span>{clockOf(from, to - from > DAY_MS)}</span>
          <span>{clockOf(to, to - from > DAY_MS)}</span>
        </div>
      </div>
      <details>
        <summary>As a table</summary>
        <div className="scroll tall" tabIndex={0} role="region" aria-label={`${label} as a table`}>
          <table className="rows">
            <thead>
              <tr>
                <th scope="col">From</th>
                <th scope="col" className="number">
                  {label}
                </th>
              </tr>
            </thead>
            <tbody>
              {points.toReversed().map(({ at, value }) => (
                <tr key={at}>
                  <td>{full(new Date(at).toISOString())}</td>
                  <td className="number">{rate(value, unit)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  );
}
