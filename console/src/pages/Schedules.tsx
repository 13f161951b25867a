// What runs by the clock: as a list, and as the days around now.

import { SegmentedControl } from "@mantine/core";
import { useQueries } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { call, type Problem, type Schemas } from "../api/client";
import { useList } from "../api/queries";
import { Age } from "../parts/Age";
import { useFilters } from "../parts/filters";
import { Empty, Head, Read } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { useTenant } from "../parts/session";
import { clock, dayName, dayOf, full, now, zoneName } from "../words/times";
import { daysAround, firingsOf } from "./firings";

export type ScheduleRow = Schemas["Schedule"];

const ON_CALENDAR = 50; // schedules: each is a question
const OF_A_DAY = 12;

/** The word for how a schedule is. */
export const wordOf = (row: ScheduleRow): string => (row.on_time === false ? "missed" : row.state);

export function Schedules() {
  const [{ view }, say] = useFilters<{ view?: "calendar" }>();
  const list = useList("schedule_list", {}, { every: 5_000 });
  return (
    <>
      <Head title="Schedules" state={<span className="quiet">Times in {zoneName()}</span>} />
      <div className="filters">
        <SegmentedControl
          aria-label="View"
          data={["List", "Calendar"]}
          value={view ? "Calendar" : "List"}
          onChange={(next) => say({ view: next === "Calendar" ? "calendar" : undefined })}
        />
      </div>
      <Read of={list}>
        {() =>
          !list.rows.length ? (
            <Empty command="sluice job deploy nightly">
              A schedule is a job whose input has a trigger with an interval or a cron expression. No job runs by the
              clock yet; one is deployed from <Link to="/catalog">the catalog</Link>.
            </Empty>
          ) : view ? (
            <Calendar rows={list.rows} />
          ) : (
            <Rows
              label="Schedules"
              rows={list.rows}
              id={(row) => row.name}
              by={list.by}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={[
                {
                  title: "State",
                  key: wordOf,
                  cell: (row) => <State word={wordOf(row)} title={row.reason || row.paused?.reason} />,
                },
                {
                  title: "Job",
                  field: "name",
                  cell: (row) => (
                    <Link to="/schedules/$name" params={{ name: row.name }}>
                      <code>{row.name}</code>
                    </Link>
                  ),
                },
                {
                  title: "Deployment",
                  field: "deployment",
                  cell: (row) =>
                    row.deployment ? (
                      <Link to="/deployments/$name" params={{ name: row.deployment }}>
                        <code>{row.deployment}</code>
                      </Link>
                    ) : (
                      "–"
                    ),
                },
                { title: "Schedule", cell: (row) => row.schedule },
                { title: "Next", key: (row) => row.next[0], cell: (row) => <Age at={row.next[0]} due /> },
                { title: "Last", field: "last_scheduled", cell: (row) => <Age at={row.last_scheduled} /> },
                {
                  title: "Last run",
                  cell: (row) => (row.last_run ? <State word={row.last_run.ok ? "succeeded" : "failed"} /> : "–"),
                },
                { title: "Last success", cell: (row) => <Age at={row.last_success_at} /> },
                { title: "Failed in a row", field: "failures", cell: (row) => row.failures, number: true },
                { title: "Missed", field: "missed", cell: (row) => row.missed, number: true },
                { title: "Skipped", field: "skipped", cell: (row) => row.skipped, number: true },
              ]}
            />
          )
        }
      </Read>
    </>
  );
}

function Calendar({ rows }: { rows: ScheduleRow[] }) {
  const tenant = useTenant();
  const shown = rows.slice(0, ON_CALENDAR);
  const read = useQueries({
    queries: shown.map(({ name }) => ({
      queryKey: [tenant, "schedule_get", { name }],
      queryFn: ({ signal }: { signal: AbortSignal }) => call("schedule_get", { name }, { tenant, signal }),
      refetchInterval: 15_000,
    })),
  });
  const problem = read.find(({ error }) => error)?.error as Problem | undefined;
  const days = daysAround(now(), 3, 7, firingsOf(read.flatMap(({ data }) => data ?? [])));
  const today = dayOf(new Date(now()));
  return (
    <>
      {problem && <div className="note failed">{problem.message}</div>}
      {rows.length > ON_CALENDAR && <p className="quiet">The first {ON_CALENDAR} schedules.</p>}
      <ol className="days">
        {days.map(({ day, firings }) => (
          <li key={day} aria-current={day === today ? "date" : undefined}>
            <h2>
              {dayName(day)}
              {day === today && ", today"}
            </h2>
            {firings.slice(-OF_A_DAY).map(({ job, at, state }) => (
              <div key={`${job} ${at} ${state}`} title={full(at)}>
                <span className="mono">{clock(at)}</span>{" "}
                <Link to="/schedules/$name" params={{ name: job }}>
                  <code>{job}</code>
                </Link>{" "}
                {state ? <State word={state} /> : <span className="quiet">next</span>}
              </div>
            ))}
            {firings.length > OF_A_DAY && <p className="quiet">and {firings.length - OF_A_DAY} before these</p>}
            {!firings.length && <span className="quiet">nothing known</span>}
          </li>
        ))}
      </ol>
      <p className="quiet">The next five firings and the last ten runs of each schedule.</p>
    </>
  );
}
