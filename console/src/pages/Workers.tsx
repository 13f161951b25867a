// Who runs jobs: workers and the groups that they are in, with how much room there is.

import { Link } from "@tanstack/react-router";
import type { Args, Schemas } from "../api/client";
import { useList } from "../api/queries";
import { Age } from "../parts/Age";
import { ChoiceFilter, given, TextFilter, useFilters } from "../parts/filters";
import { Empty, Head, Read, Section } from "../parts/Page";
import { type Column, Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { workerWord } from "../words/workers";

type Wanted = Pick<Args<"worker_list">, "group" | "state" | "label">;

export type WorkerRow = Schemas["Worker"];

/** Where what a worker runs could go: others of its group that take jobs, with how many more. */
export function roomBeside(workers: WorkerRow[], { name, group }: { name: string; group: string }) {
  return workers
    .filter((one) => one.name !== name && one.group === group && one.state === "online" && !one.drained)
    .map((one) => ({ name: one.name, free: Math.max(0, one.slots - one.jobs) }))
    .filter(({ free }) => free > 0);
}

const STATES = ["online", "draining", "offline", "lost"] as const;

const COLUMNS: Column<WorkerRow>[] = [
  {
    title: "State",
    field: "state",
    cell: (row) => <State word={workerWord(row)} />,
  },
  {
    title: "Worker",
    field: "name",
    cell: (row) => (
      <Link to="/workers/$name" params={{ name: row.name }}>
        <code>{row.name}</code>
      </Link>
    ),
  },
  { title: "Group", field: "group", cell: (row) => <code>{row.group}</code> },
  { title: "Kind", field: "kind", cell: (row) => row.kind },
  { title: "Jobs", field: "jobs", cell: (row) => row.jobs, number: true },
  { title: "Slots", field: "slots", cell: (row) => row.slots, number: true },
  { title: "Last heard", field: "last_heartbeat_at", cell: (row) => <Age at={row.last_heartbeat_at} /> },
  { title: "Restarts", field: "restarts", cell: (row) => row.restarts, number: true },
  { title: "Sandbox", cell: (row) => row.sandbox },
  { title: "Labels", cell: (row) => row.labels.join(", ") },
];

export function Workers() {
  const [wanted, say] = useFilters<Wanted>();
  const list = useList("worker_list", given(wanted), { every: 5_000 });
  const groups = useList("worker_group_list", {}, { every: 10_000 });
  const filtered = Boolean(wanted.group || wanted.state || wanted.label);
  return (
    <>
      <Head title="Workers" />
      <div className="filters">
        <ChoiceFilter
          label="State"
          any="Any state"
          of={STATES}
          value={wanted.state ?? undefined}
          set={(state) => say({ state })}
        />
        <ChoiceFilter
          label="Group"
          any="Any group"
          of={groups.rows.map(({ name }) => name)}
          value={wanted.group ?? undefined}
          set={(group) => say({ group })}
        />
        <TextFilter label="Label" value={wanted.label ?? undefined} set={(label) => say({ label })} />
      </div>
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label="Workers"
              rows={list.rows}
              id={(row) => row.name}
              by={list.by}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={COLUMNS}
            />
          ) : filtered ? (
            <p className="quiet">No worker fits these filters.</p>
          ) : (
            <Empty command="sluice serve --workers 2">
              A worker is a process that runs jobs. None is here: the engine starts its own, and workers of other
              machines join a group.
            </Empty>
          )
        }
      </Read>
      <Section title="Groups">
        <Read of={groups}>
          {() => (
            <Rows
              label="Worker groups"
              rows={groups.rows}
              id={(row) => row.name}
              columns={[
                { title: "Group", field: "name", cell: (row) => <code>{row.name}</code> },
                { title: "Workers online", cell: (row) => `${row.online} of ${row.workers.length}`, number: true },
                { title: "Jobs", field: "jobs", cell: (row) => row.jobs, number: true },
                { title: "Slots", field: "capacity", cell: (row) => row.capacity, number: true },
                { title: "Labels", cell: (row) => row.labels.join(", ") },
                { title: "Tenants", cell: (row) => row.tenants.map((one) => (one === "*" ? "all" : one)).join(", ") },
              ]}
            />
          )}
        </Read>
      </Section>
    </>
  );
}
