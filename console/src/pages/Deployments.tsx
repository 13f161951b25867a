// Every deployment: how it is, since when, and what differs from what was applied.

import { Button } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import type { Args } from "../api/client";
import { useList } from "../api/queries";
import { Age } from "../parts/Age";
import { ChoiceFilter, given, TextFilter, useFilters } from "../parts/filters";
import { Head, Read } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { useAdmin } from "../parts/session";
import { Environments } from "./Environments";
import { FirstSteps } from "./FirstSteps";

type Wanted = Pick<Args<"deployment_list">, "query" | "state">;

const STATES = ["running", "applying", "warning", "degraded", "failed", "removed"] as const;

export function Deployments() {
  const admin = useAdmin();
  const [wanted, say] = useFilters<Wanted>();
  const list = useList("deployment_list", given(wanted), { every: 10_000 });
  return (
    <>
      <Head
        title="Deployments"
        actions={
          <Button component={Link} to="/catalog">
            Create deployment
          </Button>
        }
      />
      <div className="filters">
        <TextFilter label="Name contains" value={wanted.query ?? undefined} set={(query) => say({ query })} />
        <ChoiceFilter
          label="State"
          any="Any state"
          of={STATES}
          value={wanted.state ?? undefined}
          set={(state) => say({ state })}
        />
      </div>
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label="Deployments"
              rows={list.rows}
              id={(row) => row.name}
              by={list.by}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={[
                {
                  title: "Health",
                  field: "health",
                  cell: (row) => <State word={row.health === "gone" ? row.state : row.health} title={row.reason} />,
                },
                {
                  title: "Name",
                  field: "name",
                  cell: (row) => (
                    <Link to="/deployments/$name" params={{ name: row.name }}>
                      <code>{row.name}</code>
                    </Link>
                  ),
                },
                { title: "Since", field: "since", cell: (row) => <Age at={row.since} /> },
                { title: "State", field: "state", cell: (row) => <State word={row.state} /> },
                { title: "Workloads up", cell: (row) => row.workloads, number: true },
                { title: "Drift", field: "drift", cell: (row) => row.drift, number: true },
                { title: "Revision", field: "revision", cell: (row) => row.revision, number: true },
                { title: "Source", field: "source", cell: (row) => <code>{row.source}</code> },
                { title: "Changed", field: "updated_at", cell: (row) => <Age at={row.updated_at} /> },
                { title: "By", field: "updated_by", cell: (row) => row.updated_by },
              ]}
            />
          ) : wanted.query || wanted.state ? (
            <p className="quiet">No deployment fits these filters.</p>
          ) : (
            <FirstSteps />
          )
        }
      </Read>
      {admin && <Environments />}
    </>
  );
}
