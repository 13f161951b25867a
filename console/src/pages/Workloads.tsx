// What runs where, and why it is as it is: each replica of a job.

import { Link } from "@tanstack/react-router";
import type { Args } from "../api/client";
import { useList } from "../api/queries";
import { Age } from "../parts/Age";
import { ChoiceFilter, given, TextFilter, useFilters } from "../parts/filters";
import { Empty, Head, Read } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";

const TEXTS = [
  ["deployment", "Deployment"],
  ["job", "Job"],
  ["worker", "Worker"],
  ["group", "Group"],
] as const;

type Wanted = Pick<Args<"workload_list">, "deployment" | "job" | "worker" | "group" | "health">;

const HEALTH = ["healthy", "progressing", "warning", "degraded", "failing", "down", "quarantined", "gone"] as const;

export function Workloads() {
  const [wanted, say] = useFilters<Wanted>();
  const list = useList("workload_list", given(wanted), { every: 10_000 });
  return (
    <>
      <Head title="Workloads" />
      <div className="filters">
        <ChoiceFilter
          label="Health"
          any="Any health"
          of={HEALTH}
          value={wanted.health ?? undefined}
          set={(health) => say({ health })}
        />
        {TEXTS.map(([key, label]) => (
          <TextFilter key={key} label={label} value={wanted[key] ?? undefined} set={(text) => say({ [key]: text })} />
        ))}
      </div>
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label="Workloads"
              rows={list.rows}
              id={(row) => row.workload}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={[
                {
                  title: "Health",
                  key: (row) => row.health,
                  cell: (row) => <State word={row.health ?? "progressing"} title={row.reason} />,
                },
                { title: "Job", key: (row) => row.job, cell: (row) => <code>{row.job}</code> },
                { title: "Replica", key: (row) => row.replica, cell: (row) => row.replica, number: true },
                {
                  title: "Deployment",
                  key: (row) => row.deployment,
                  cell: (row) =>
                    row.deployment ? (
                      <Link to="/deployments/$name" params={{ name: row.deployment }}>
                        <code>{row.deployment}</code>
                      </Link>
                    ) : (
                      "–"
                    ),
                },
                { title: "State", key: (row) => row.state, cell: (row) => <State word={row.state} /> },
                {
                  title: "Worker",
                  key: (row) => row.worker,
                  cell: (row) =>
                    row.worker ? (
                      <Link to="/workers/$name" params={{ name: row.worker }}>
                        <code>{row.worker}</code>
                      </Link>
                    ) : (
                      "–"
                    ),
                },
                { title: "Group", key: (row) => row.group, cell: (row) => row.group },
                { title: "Restarts", key: (row) => row.restarts, cell: (row) => row.restarts, number: true },
                { title: "Since", key: (row) => row.since, cell: (row) => <Age at={row.since} /> },
                {
                  title: "Logs",
                  cell: (row) => <Link to={`/logs?of=${encodeURIComponent(`${row.job}#${row.replica}`)}`}>Logs</Link>,
                },
                { title: "Why", cell: (row) => row.reason },
              ]}
            />
          ) : Object.keys(given(wanted)).length ? (
            <p className="quiet">No workload fits these filters.</p>
          ) : (
            <Empty command="sluice plan hello --from workflow:quickstart-file-store-roundtrip --set path=files">
              A workload is one replica of a job on a worker. Nothing is deployed yet;{" "}
              <Link to="/catalog">the catalog</Link> has pipelines to start with.
            </Empty>
          )
        }
      </Read>
    </>
  );
}
