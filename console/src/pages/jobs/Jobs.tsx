// The jobs of the tenant: single ones, which people stage and deploy one by one, and those that deployments manage.

import { Button, Checkbox } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useList } from "../../api/queries";
import { Age } from "../../parts/Age";
import { ChoiceFilter, given, TextFilter, useFilters } from "../../parts/filters";
import { AsWhom, Empty, Head, Read } from "../../parts/Page";
import { Rows } from "../../parts/Rows";
import { State } from "../../parts/State";
import { useAdmin } from "../../parts/session";
import { stateOf } from "./text";

const STATES = ["running", "failed", "quarantined", "completed", "starting", "staged", "draft"] as const;

interface Wanted {
  query?: string;
  state?: (typeof STATES)[number];
  single?: boolean;
}

export function Jobs() {
  const [wanted, say] = useFilters<Wanted>();
  const admin = useAdmin();
  const { single, ...asked } = wanted;
  const list = useList("job_list", given(asked), { every: 10_000 });
  const rows = single ? list.rows.filter((row) => !row.managed_by) : list.rows;
  return (
    <>
      <Head
        title="Jobs"
        actions={
          admin && (
            <Button component={Link} to="/jobs/-new">
              New job
            </Button>
          )
        }
      />
      <div className="filters">
        <TextFilter label="Job or deployment" value={wanted.query} set={(query) => say({ query })} />
        <ChoiceFilter label="State" any="Any state" of={STATES} value={wanted.state} set={(state) => say({ state })} />
        <Checkbox
          label="Only those that no deployment manages"
          checked={single ?? false}
          onChange={(event) => say({ single: event.currentTarget.checked || undefined })}
        />
      </div>
      {!admin && (
        <p className="quiet">
          Writing and deploying jobs is for admins
          <AsWhom />
        </p>
      )}
      <Read of={list}>
        {() =>
          rows.length ? (
            <Rows
              label="Jobs"
              rows={rows}
              id={(row) => row.name}
              by={list.by}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={[
                { title: "State", cell: (row) => <State word={stateOf(row)} title={row.workloads[0]?.reason} /> },
                {
                  title: "Job",
                  cell: (row) => (
                    <Link to="/jobs/$name" params={{ name: row.name }}>
                      <code>{row.name}</code>
                    </Link>
                  ),
                },
                {
                  title: "Managed by",
                  cell: (row) =>
                    row.managed_by ? (
                      <Link to="/deployments/$name" params={{ name: row.managed_by }}>
                        <code>{row.managed_by}</code>
                      </Link>
                    ) : (
                      "–"
                    ),
                },
                { title: "Version", cell: (row) => (row.managed_by ? "–" : (row.version ?? "–")), number: true },
                { title: "Draft", cell: (row) => (row.draft ? `revision ${row.draft}` : "–") },
                { title: "Workers", cell: (row) => row.workloads.map(({ worker }) => worker).join(", ") || "–" },
                { title: "Since", cell: (row) => <Age at={row.workloads[0]?.since} /> },
                { title: "Next run", cell: (row) => <Age at={row.schedule?.next} /> },
                { title: "Why", cell: (row) => row.workloads.find(({ reason }) => reason)?.reason },
              ]}
            />
          ) : Object.keys(given(wanted)).length ? (
            <p className="quiet">No job fits these filters.</p>
          ) : (
            <Empty command="sluice job put -f job.yaml">
              A job takes events from an input, changes them by actions and gives them to an output. There is none:
              write one here, start from one of the catalog, or deploy a workflow.
            </Empty>
          )
        }
      </Read>
    </>
  );
}
