// The runs of one job: why each was started, how it ended, and what it wrote meanwhile.

import { Button } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useAct } from "../../api/act";
import { call } from "../../api/client";
import { useAgain, useList, useRead } from "../../api/queries";
import { Age } from "../../parts/Age";
import { ChoiceFilter, useFilters } from "../../parts/filters";
import { Read, Refusal } from "../../parts/Page";
import { Rows } from "../../parts/Rows";
import { State } from "../../parts/State";
import { useOperator, useTenant } from "../../parts/session";
import { count, counted } from "../../words/numbers";
import { span } from "../../words/times";

const STATES = ["running", "succeeded", "failed", "canceled", "skipped", "missed"] as const;

const A_DAY = 24 * 60;

/** What messages started is summed up and has no rows, unless it failed, was canceled or takes long. */
function OfMessages({ job }: { job: string }) {
  const { data } = useRead("run_list", { job, minutes: A_DAY, limit: 1 }, { every: 15_000 });
  const minutes = data?.per_minute ?? [];
  const sum = (key: "runs" | "failed" | "events_in" | "events_out" | "refused") =>
    minutes.reduce((all, minute) => all + minute[key], 0);
  if (!minutes.length) return null;
  return (
    <p role="status">
      In the last day messages started {counted(sum("runs"), "run")} of it: {count(sum("failed"))} failed,{" "}
      {counted(sum("events_in"), "event")} in, {count(sum("events_out"))} out, {count(sum("refused"))} refused.{" "}
      <span className="quiet">Those that failed, were canceled or take long are listed.</span>
    </p>
  );
}

export function Runs({ job }: { job: string }) {
  const [wanted, say] = useFilters<{ state?: (typeof STATES)[number] }>();
  const tenant = useTenant();
  const operator = useOperator();
  const again = useAgain();
  const { act, busy, problem } = useAct();
  const list = useList("run_list", { job, ...(wanted.state ? { state: wanted.state } : {}) }, { every: 3_000 });
  const cancel = (run_id: string) =>
    act(async () => {
      await call("run_cancel", { run_id }, { tenant });
      await again("run_");
    });
  const took = (ms: number) => (ms < 1000 ? `${ms} ms` : span(ms));
  const known = (value: number | null) => (value === null ? "–" : count(value));
  return (
    <>
      <div className="filters">
        <ChoiceFilter label="State" any="Any state" of={STATES} value={wanted.state} set={(state) => say({ state })} />
      </div>
      {problem && <Refusal problem={problem} />}
      <OfMessages job={job} />
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label="Runs"
              rows={list.rows}
              id={(row) => row.run_id}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={[
                { title: "State", cell: (row) => <State word={row.state} title={row.reason} /> },
                { title: "Started", cell: (row) => <Age at={row.last_started_at ?? row.started_at} /> },
                {
                  title: "Took",
                  cell: (row) => (row.ended_at ? took(Date.parse(row.ended_at) - Date.parse(row.started_at)) : "–"),
                  number: true,
                },
                { title: "By", cell: (row) => [row.cause, row.by].filter(Boolean).join(", ") },
                { title: "Alike", cell: (row) => row.count ?? 1, number: true },
                { title: "Events in", cell: (row) => known(row.events_in), number: true },
                { title: "Events out", cell: (row) => known(row.events_out), number: true },
                { title: "Refused", cell: (row) => known(row.refused), number: true },
                {
                  title: "Log",
                  cell: (row) => (
                    <Link to="/logs" search={{ of: job, run: row.run_id } as never}>
                      Lines of it
                    </Link>
                  ),
                },
                { title: "Why", cell: (row) => row.reason },
                {
                  title: "Do",
                  cell: (row) =>
                    operator &&
                    row.state === "running" && (
                      <Button
                        variant="subtle"
                        size="compact-xs"
                        disabled={busy}
                        onClick={() => void cancel(row.run_id)}
                      >
                        Cancel
                      </Button>
                    ),
                },
                { title: "Run", cell: (row) => <code>{row.run_id}</code> },
              ]}
            />
          ) : (
            <p className="quiet">
              {wanted.state
                ? "No run on record is in this state."
                : "No run is listed. Those of a schedule and of a job that runs once are; those that messages start are counted, for a day."}
            </p>
          )
        }
      </Read>
    </>
  );
}
