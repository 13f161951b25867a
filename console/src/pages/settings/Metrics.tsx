// What workloads did over time: one figure of all of the tenant, or of one deployment, job or workload.

import { Select } from "@mantine/core";
import type { Schemas } from "../../api/client";
import { useRead } from "../../api/queries";
import { Chart, type Point } from "../../parts/Chart";
import { TextFilter, useFilters } from "../../parts/filters";
import { Read } from "../../parts/Page";
import { span } from "../../words/times";
import { Sub } from "./Sub";

type Metric = keyof Schemas["Rates"];

const METRICS: Record<Metric, [string, string]> = {
  events_in: ["Events in", "/s"],
  events_out: ["Events out", "/s"],
  bytes_in: ["Bytes in", " B/s"],
  bytes_out: ["Bytes out", " B/s"],
  errors: ["Errors", "/s"],
  runs: ["Runs", "/s"],
  runs_failed: ["Failed runs", "/s"],
  lag_seconds: ["Lag", " s"],
};
const NAMES = Object.keys(METRICS) as Metric[];
const SINCE = ["15m", "1h", "6h", "24h", "7d", "30d"] as const;
const POINTS = 121;

interface Wanted {
  of?: string;
  metric?: Metric;
  since?: (typeof SINCE)[number];
}

/** Each slot of a series with when it begins. */
export const pointsOf = (since: string, step: number, values: (number | null)[]): Point[] =>
  values.map((value, place) => ({ at: Date.parse(since) + place * step * 1000, value }));

export function Metrics() {
  const [wanted, say] = useFilters<Wanted>();
  const metric = wanted.metric ?? "events_out";
  const since = wanted.since ?? "1h";
  const of = wanted.of ? { of: wanted.of } : {};
  const read = useRead("series_get", { ...of, since, points: POINTS }, { every: 10_000 });
  const [label, unit] = METRICS[metric];
  return (
    <Sub about="What workloads did over time: the last hour is kept by 10 seconds, a day by the minute, a week by 5 minutes, 90 days by the hour.">
      <div className="filters">
        <TextFilter label="Deployment, job or workload" value={wanted.of} set={(of) => say({ of })} />
        <Select
          aria-label="Figure"
          data={NAMES.map((value) => ({ value, label: METRICS[value][0] }))}
          value={metric}
          allowDeselect={false}
          w={140}
          onChange={(chosen) => say({ metric: (chosen as Metric | null) ?? undefined })}
        />
        <Select
          aria-label="Since"
          data={[...SINCE]}
          value={since}
          allowDeselect={false}
          w={100}
          onChange={(chosen) => say({ since: (chosen as Wanted["since"] | null) ?? undefined })}
        />
      </div>
      <Read of={read}>
        {(series) => (
          <>
            <Chart
              label={label}
              unit={unit}
              points={pointsOf(series.since, series.step_seconds, series.rates[metric])}
            />
            <p className="quiet">
              {series.of ?? "All of the tenant"}, by {span(series.step_seconds * 1000)}; the last point is not over.
              {series.left_out > 0 && ` ${series.left_out} subjects were too many to be kept.`}
            </p>
          </>
        )}
      </Read>
    </Sub>
  );
}
