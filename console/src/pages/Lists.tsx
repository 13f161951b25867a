// Lists that are one table each: plans, workloads, workers, schedules.

import { Link } from "@tanstack/react-router";
import type { Args, Name, RowOf } from "../api/client";
import { useList } from "../api/queries";
import { Age } from "../parts/Age";
import { Head, Read } from "../parts/Page";
import { type Column, Rows } from "../parts/Rows";
import { State } from "../parts/State";

interface Given<N extends Name> {
  title: string;
  operation: N;
  id: (row: RowOf<N>) => string;
  columns: Column<RowOf<N>>[];
  empty: string;
  every?: number;
}

function ListPage<N extends Name>({ title, operation, id, columns, empty, every = 10_000 }: Given<N>) {
  const list = useList(operation, {} as Omit<Args<N>, "cursor">, { every });
  return (
    <>
      <Head title={title} />
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label={title}
              rows={list.rows}
              id={id}
              columns={columns}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
            />
          ) : (
            <p className="quiet">{empty}</p>
          )
        }
      </Read>
    </>
  );
}

const deployment = (name: string | null) =>
  name ? (
    <Link to="/deployments/$name" params={{ name }}>
      <code>{name}</code>
    </Link>
  ) : (
    "–"
  );

export const Plans = () => (
  <ListPage
    title="Plans"
    operation="plan_list"
    id={(row) => row.plan_id}
    empty="No plan is kept. Plan a deployment from the catalog."
    columns={[
      { title: "State", cell: (row) => <State word={row.state} /> },
      {
        title: "Plan",
        cell: (row) => (
          <Link to="/plans/$id" params={{ id: row.plan_id }}>
            <code>{row.plan_id}</code>
          </Link>
        ),
      },
      { title: "Deployment", cell: (row) => <code>{row.name}</code> },
      { title: "On revision", cell: (row) => row.base_revision, number: true },
      { title: "Made", cell: (row) => <Age at={row.created_at} /> },
      { title: "By", cell: (row) => row.by },
      { title: "Ends", cell: (row) => <Age at={row.expires_at} /> },
    ]}
  />
);

export const Workloads = () => (
  <ListPage
    title="Workloads"
    operation="workload_list"
    id={(row) => row.workload}
    empty="Nothing is deployed."
    columns={[
      { title: "Health", cell: (row) => <State word={row.health ?? "progressing"} title={row.reason} /> },
      { title: "Job", cell: (row) => <code>{row.job}</code> },
      { title: "Replica", cell: (row) => row.replica, number: true },
      { title: "Deployment", cell: (row) => deployment(row.deployment) },
      { title: "State", cell: (row) => <State word={row.state} /> },
      { title: "Worker", cell: (row) => row.worker ?? "–" },
      { title: "Group", cell: (row) => row.group },
      { title: "Restarts", cell: (row) => row.restarts, number: true },
      { title: "Since", cell: (row) => <Age at={row.since} /> },
      { title: "Why", cell: (row) => row.reason },
    ]}
  />
);

export const Workers = () => (
  <ListPage
    title="Workers"
    operation="worker_list"
    id={(row) => row.name}
    empty="No worker is here. Start the engine with workers: sluice serve --workers 2"
    columns={[
      { title: "State", cell: (row) => <State word={row.state} /> },
      { title: "Worker", cell: (row) => <code>{row.name}</code> },
      { title: "Group", cell: (row) => row.group },
      { title: "Kind", cell: (row) => row.kind },
      { title: "Jobs", cell: (row) => row.jobs, number: true },
      { title: "Slots", cell: (row) => row.slots, number: true },
      { title: "Restarts", cell: (row) => row.restarts, number: true },
      { title: "Sandbox", cell: (row) => row.sandbox },
      { title: "Last heard", cell: (row) => <Age at={row.last_heartbeat_at} /> },
      { title: "Labels", cell: (row) => row.labels.join(", ") },
    ]}
  />
);

export const Schedules = () => (
  <ListPage
    title="Schedules"
    operation="schedule_list"
    id={(row) => row.name}
    empty="No job runs by the clock."
    columns={[
      { title: "State", cell: (row) => <State word={row.on_time ? row.state : "missed"} title={row.reason} /> },
      { title: "Job", cell: (row) => <code>{row.name}</code> },
      { title: "Deployment", cell: (row) => deployment(row.deployment) },
      { title: "Schedule", cell: (row) => row.schedule },
      { title: "Next", cell: (row) => <Age at={row.next[0]} /> },
      { title: "Last", cell: (row) => <Age at={row.last_scheduled} /> },
      { title: "Last success", cell: (row) => <Age at={row.last_success_at} /> },
      { title: "Failed in a row", cell: (row) => row.failures, number: true },
      { title: "Missed", cell: (row) => row.missed, number: true },
      { title: "Skipped", cell: (row) => row.skipped, number: true },
    ]}
  />
);
