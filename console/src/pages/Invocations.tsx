// The runs of triggers: those of the tenant, the youngest first.

import { Link } from "@tanstack/react-router";
import type { Schemas } from "../api/client";
import { useList } from "../api/queries";
import { Age } from "../parts/Age";
import { ChoiceFilter, given, TextFilter, useFilters } from "../parts/filters";
import { Empty, Head, Read } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";

const STATES = ["accepted", "dispatched", "succeeded", "failed", "timed_out", "canceled"] as const;

const SURFACES = ["mcp", "http", "cli", "internal"] as const;

interface Given {
  rows: Schemas["InvocationItem"][];
  live?: boolean;
  more?: (() => void) | undefined;
  total?: number | undefined;
}

export function InvocationRows({ rows, live = false, more, total }: Given) {
  if (!rows.length) return <p className="quiet">There is no run yet.</p>;
  return (
    <Rows
      label="Runs"
      rows={rows}
      live={live}
      more={more}
      total={total}
      id={(row) => row.invocation_id}
      columns={[
        { title: "State", field: "state", cell: (row) => <State word={row.state} /> },
        {
          title: "Run",
          cell: (row) => (
            <Link to="/invocations/$id" params={{ id: row.invocation_id }}>
              <code>{row.invocation_id}</code>
            </Link>
          ),
        },
        { title: "Trigger", field: "trigger_slug", cell: (row) => <code>{row.trigger_slug}</code> },
        { title: "Asked", field: "requested_at", cell: (row) => <Age at={row.requested_at} /> },
        { title: "Took, ms", field: "duration_ms", cell: (row) => row.duration_ms ?? "–", number: true },
        { title: "By", cell: (row) => row.caller.username },
        { title: "Through", cell: (row) => row.surface },
        { title: "Tries", cell: (row) => row.attempts, number: true },
      ]}
    />
  );
}

interface Wanted {
  state?: Schemas["InvocationState"];
  slug?: string;
  username?: string;
  surface?: (typeof SURFACES)[number];
}

export function Invocations() {
  const [wanted, say] = useFilters<Wanted>();
  const list = useList("trigger_invocation_list", given(wanted));
  return (
    <>
      <Head title="Runs" />
      <div className="filters">
        <ChoiceFilter label="State" any="Any state" of={STATES} value={wanted.state} set={(state) => say({ state })} />
        <TextFilter label="Trigger" value={wanted.slug} set={(slug) => say({ slug })} />
        <TextFilter label="By" value={wanted.username} set={(username) => say({ username })} />
        <ChoiceFilter
          label="Through"
          any="Through any door"
          of={SURFACES}
          value={wanted.surface}
          set={(surface) => say({ surface })}
        />
      </div>
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <InvocationRows
              rows={list.rows}
              live
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
            />
          ) : (
            <Empty>
              No run fits. <Link to="/triggers">Triggers</Link> are run from their page, from MCP, HTTP and the command
              line.
            </Empty>
          )
        }
      </Read>
    </>
  );
}
