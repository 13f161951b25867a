// What runs where, and why it is as it is: each replica of a job.

import { Link } from "@tanstack/react-router";
import type { Args } from "../api/client";
import { useList } from "../api/queries";
import { ChoiceFilter, given, TextFilter, useFilters } from "../parts/filters";
import { Empty, Head, Read } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { HEALTH } from "./unwell";
import { workloadColumns } from "./workloadColumns";

const TEXTS = [
  ["deployment", "Deployment"],
  ["job", "Job"],
  ["worker", "Worker"],
  ["group", "Group"],
] as const;

type Wanted = Pick<Args<"workload_list">, "deployment" | "job" | "worker" | "group" | "health">;

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
              by={list.by}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={workloadColumns(
                ...(["health", "job", "replica", "deployment", "state", "worker"] as const),
                ...(["group", "restarts", "since", "logs", "why"] as const),
              )}
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
