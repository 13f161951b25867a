// Every deployment: how it is, since when, and what differs from what was applied.

import { Button } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import type { Args } from "../api/client";
import { useList } from "../api/queries";
import { Age } from "../parts/Age";
import { ChoiceFilter, given, TextFilter, useFilters } from "../parts/filters";
import { Empty, Head, Read } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";

type Wanted = Pick<Args<"deployment_list">, "query" | "state">;

const STATES = ["running", "applying", "warning", "degraded", "failed", "removed"] as const;

export function Deployments() {
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
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={[
                { title: "Health", cell: (row) => <State word={row.health} title={row.reason} /> },
                {
                  title: "Name",
                  cell: (row) => (
                    <Link to="/deployments/$name" params={{ name: row.name }}>
                      <code>{row.name}</code>
                    </Link>
                  ),
                },
                { title: "Since", cell: (row) => <Age at={row.since} /> },
                { title: "State", cell: (row) => <State word={row.state} /> },
                { title: "Workloads up", cell: (row) => row.workloads, number: true },
                { title: "Drift", cell: (row) => row.drift, number: true },
                { title: "Revision", cell: (row) => row.revision, number: true },
                { title: "Source", cell: (row) => <code>{row.source}</code> },
                { title: "Changed", cell: (row) => <Age at={row.updated_at} /> },
                { title: "By", cell: (row) => row.updated_by },
              ]}
            />
          ) : wanted.query || wanted.state ? (
            <p className="quiet">No deployment fits these filters.</p>
          ) : (
            <Empty command="sluice plan hello --from workflow:quickstart-file-store-roundtrip --set path=files">
              A deployment is a workflow that runs. Choose one in <Link to="/catalog">the catalog</Link>.
            </Empty>
          )
        }
      </Read>
    </>
  );
}
