// What needs attention, and what happened lately: each a link to where it is mended.

import { Link } from "@tanstack/react-router";
import type { Schemas } from "../api/client";
import { useList, useRead } from "../api/queries";
import { Age } from "../parts/Age";
import { Head, Read, Section } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { RateLine } from "../parts/Spark";
import { State } from "../parts/State";
import { counted } from "../words/numbers";
import { Attention } from "./Attention";
import { FirstSteps } from "./FirstSteps";

export function Overview() {
  const all = { every: 15_000, whole: true };
  const deployments = useList("deployment_list", {}, all);
  const workers = useList("worker_list", {}, all);
  const schedules = useList("schedule_list", {}, all);
  const runs = useList("trigger_invocation_list", { limit: 10 });
  const known = deployments.data && workers.data;
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
      <Attention deployments={deployments} workers={workers} schedules={schedules} />
      {deployments.isFetchedAfterMount && deployments.total === 0 && <FirstSteps />}
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
