// What needs attention, and what happened lately: each a link to where it is mended.

import { Link } from "@tanstack/react-router";
import type { Schemas } from "../api/client";
import { useList, useRead } from "../api/queries";
import { Age } from "../parts/Age";
import { Head, Read, Section } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { RateLine } from "../parts/Spark";
import { State, toneOf } from "../parts/State";
import { counted } from "../words/numbers";
import { workerWord } from "../words/workers";
import { FirstSteps } from "./FirstSteps";

export function Overview() {
  const deployments = useList("deployment_list", {}, { every: 15_000 });
  const workers = useList("worker_list", {}, { every: 15_000 });
  const schedules = useList("schedule_list", {}, { every: 15_000 });
  const runs = useList("trigger_invocation_list", { limit: 10 });
  const failed = useLately("failed");
  const silent = useLately("timed_out");
  const letters = useRead("dead_letter_list", { limit: 1 }, { every: 15_000 });
  const unwell = deployments.rows.filter(({ health, drift }) => toneOf(health) !== "well" || drift > 0);
  const lost = workers.rows.filter(({ state }) => state !== "online");
  const late = schedules.rows.filter(({ on_time, state }) => !on_time && state === "active");
  const waiting = letters.data?.total ?? 0;
  const nothing = !unwell.length && !lost.length && !late.length && !waiting && !failed.total && !silent.total;
  const known = deployments.data && workers.data && schedules.data;
  const next = schedules.rows
    .filter(({ next, state }) => next.length || state === "paused")
    .sort((a, b) => (a.next[0] ?? "~").localeCompare(b.next[0] ?? "~"));
  return (
    <>
      <Head
        title="Overview"
        state={
          known && (
            <span className="quiet">
              {counted(deployments.total ?? 0, "deployment")}, {counted(workers.total ?? 0, "worker")}
            </span>
          )
        }
      />
      <Section title="Needs attention">
        <Read of={deployments}>
          {() =>
            nothing ? (
              <p>
                <State word="healthy" title="all that is deployed" /> Nothing needs you.
              </p>
            ) : (
              <ul className="timeline">
                {unwell.map((one) => (
                  <li key={one.name}>
                    <Link to="/deployments/$name" params={{ name: one.name }}>
                      <code>{one.name}</code>
                    </Link>{" "}
                    <State word={one.health} /> {one.reason} {one.drift > 0 && `${counted(one.drift, "drift")}. `}
                    <Age at={one.since} />
                  </li>
                ))}
                {lost.map((one) => (
                  <li key={one.name}>
                    <Link to="/workers">
                      Worker <code>{one.name}</code>
                    </Link>{" "}
                    <State word={workerWord(one)} />
                  </li>
                ))}
                {late.map((one) => (
                  <li key={one.name}>
                    <Link to="/schedules">
                      Schedule <code>{one.name}</code>
                    </Link>{" "}
                    <State word="missed" /> {one.reason}
                  </li>
                ))}
                <Failures {...failed} word="failed" />
                <Failures {...silent} word="timed_out" />
                {waiting > 0 && (
                  <li>
                    <Link to="/issues">{counted(waiting, "dead letter")}</Link> wait for a decision
                  </li>
                )}
              </ul>
            )
          }
        </Read>
      </Section>
      {deployments.data && deployments.total === 0 && <FirstSteps />}
      <Applying rows={deployments.rows.filter(({ state }) => state === "applying")} />
      <div className="columns">
        <Section title="Latest runs of triggers">
          <Read of={runs}>
            {() =>
              runs.rows.length ? (
                <Rows
                  label="Latest runs of triggers"
                  rows={runs.rows.slice(0, 10)}
                  id={(row) => row.invocation_id}
                  columns={[
                    { title: "State", cell: (row) => <State word={row.state} /> },
                    {
                      title: "Trigger",
                      cell: (row) => (
                        <Link to="/invocations/$id" params={{ id: row.invocation_id }}>
                          <code>{row.trigger_slug}</code>
                        </Link>
                      ),
                    },
                    { title: "Asked", cell: (row) => <Age at={row.requested_at} /> },
                    { title: "By", cell: (row) => row.caller.username },
                  ]}
                />
              ) : (
                <p className="quiet">No trigger has run yet.</p>
              )
            }
          </Read>
        </Section>
        <Throughput />
        <Section title="Next schedules">
          <Read of={schedules}>
            {() =>
              next.length ? (
                <Rows
                  label="Next schedules"
                  rows={next.slice(0, 10)}
                  id={(row) => row.name}
                  columns={[
                    {
                      title: "Next",
                      cell: (row) =>
                        row.state === "paused" ? (
                          <Link to="/schedules/$name" params={{ name: row.name }}>
                            <State word="paused" />
                          </Link>
                        ) : (
                          <Age at={row.next[0]} due />
                        ),
                    },
                    { title: "Job", cell: (row) => <code>{row.name}</code> },
                    { title: "Schedule", cell: (row) => row.schedule },
                  ]}
                />
              ) : (
                <p className="quiet">Nothing is scheduled.</p>
              )
            }
          </Read>
        </Section>
      </div>
    </>
  );
}

type Ended = "failed" | "timed_out";

/** The runs of triggers in the last hour that ended so: the youngest, and how many there were. */
function useLately(state: Ended) {
  const { rows, total = 0 } = useList("trigger_invocation_list", { state, since: "1h", limit: 1 }, { every: 60_000 });
  return { youngest: rows[0], total };
}

function Failures({ youngest, total, word }: ReturnType<typeof useLately> & { word: Ended }) {
  if (!youngest) return null;
  return (
    <li>
      <Link to={`/invocations?state=${word}`}>{counted(total, "run")} of triggers</Link> <State word={word} /> in the
      last hour, the youngest{" "}
      <Link to="/invocations/$id" params={{ id: youngest.invocation_id }}>
        <code>{youngest.trigger_slug}</code>
      </Link>{" "}
      <Age at={youngest.requested_at} />
    </li>
  );
}

function Applying({ rows }: { rows: Schemas["DeploymentItem"][] }) {
  if (!rows.length) return null;
  return (
    <Section title="Applies under way">
      {rows.map((one) => (
        <p key={one.name}>
          <Link to="/deployments/$name" params={{ name: one.name }}>
            <code>{one.name}</code>
          </Link>{" "}
          <State word={one.state} /> {one.workloads} up, since <Age at={one.updated_at} />
        </p>
      ))}
    </Section>
  );
}

/** What all workloads of the tenant did in the last hour. */
function Throughput() {
  const read = useRead("series_get", { since: "1h", points: 61 }, { every: 15_000 });
  return (
    <Section title="The last hour">
      <Read of={read}>
        {({ rates }) => (
          <>
            <RateLine name="Events in" values={rates.events_in} of="all workloads" />
            <RateLine name="Events out" values={rates.events_out} of="all workloads" />
            <RateLine name="Errors" values={rates.errors} of="all workloads" />
          </>
        )}
      </Read>
    </Section>
  );
}
