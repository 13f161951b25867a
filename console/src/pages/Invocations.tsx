// The runs of triggers: those of the tenant, the youngest first.

import { Select, TextInput } from "@mantine/core";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useList } from "../api/queries";
import { Age } from "../parts/Age";
import { Empty, Head, Read } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";

export interface InvocationRow {
  invocation_id: string;
  trigger_slug: string;
  state: string;
  caller: { username: string; role: string };
  surface: string;
  attempts: number;
  requested_at: string;
  finished_at: string | null;
  duration_ms: number | null;
  rerun_of: string | null;
}

export interface Record extends InvocationRow {
  tenant_id: string;
  trigger_revision: number;
  params: { [name: string]: unknown };
  result: { [name: string]: unknown };
  deadline_ns: number | null;
  accepted_at?: string | null;
  dispatched_at?: string | null;
}

const STATES = ["accepted", "dispatched", "succeeded", "failed", "timed_out", "rejected", "canceled"];

export function InvocationRows({ rows }: { rows: InvocationRow[] }) {
  if (!rows.length) return <p className="quiet">There is no run yet.</p>;
  return (
    <Rows
      label="Runs"
      rows={rows}
      id={(row) => row.invocation_id}
      columns={[
        { title: "State", cell: (row) => <State word={row.state} /> },
        {
          title: "Run",
          cell: (row) => (
            <Link to="/invocations/$id" params={{ id: row.invocation_id }}>
              <code>{row.invocation_id}</code>
            </Link>
          ),
        },
        { title: "Trigger", cell: (row) => <code>{row.trigger_slug}</code> },
        { title: "Asked", cell: (row) => <Age at={row.requested_at} /> },
        { title: "Took, ms", cell: (row) => row.duration_ms ?? "–", number: true },
        { title: "By", cell: (row) => row.caller.username },
        { title: "Through", cell: (row) => row.surface },
        { title: "Tries", cell: (row) => row.attempts, number: true },
      ]}
    />
  );
}

interface Wanted {
  state?: string;
  trigger?: string;
}

export function Invocations() {
  const wanted = useSearch({ strict: false }) as Wanted;
  const navigate = useNavigate();
  const say = (more: Wanted) =>
    void navigate({ to: "/invocations", search: { ...wanted, ...more } as never, replace: true });
  const list = useList<InvocationRow>("trigger_invocation_list", {
    ...(wanted.state ? { state: wanted.state } : {}),
    ...(wanted.trigger ? { slug: wanted.trigger } : {}),
  });
  return (
    <>
      <Head title="Runs" />
      <div className="filters">
        <Select
          aria-label="State"
          placeholder="Any state"
          data={STATES}
          value={wanted.state ?? null}
          clearable
          onChange={(state) => say({ state: state ?? undefined } as Wanted)}
        />
        <TextInput
          aria-label="Trigger"
          placeholder="Trigger"
          value={wanted.trigger ?? ""}
          onChange={(event) => say({ trigger: event.currentTarget.value || undefined } as Wanted)}
        />
      </div>
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <InvocationRows rows={list.rows} />
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
