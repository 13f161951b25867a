// The runs of triggers: those of the tenant, the youngest first.

import { Select, TextInput } from "@mantine/core";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import type { Schemas } from "../api/client";
import { useList } from "../api/queries";
import { Age } from "../parts/Age";
import { Empty, Head, Read } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";

const STATES = ["accepted", "dispatched", "succeeded", "failed", "timed_out", "canceled"];

export function InvocationRows({ rows }: { rows: Schemas["InvocationItem"][] }) {
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
  state?: Schemas["InvocationState"];
  trigger?: string;
}

export function Invocations() {
  const wanted = useSearch({ strict: false }) as Wanted;
  const navigate = useNavigate();
  const say = (more: Wanted) =>
    void navigate({ to: "/invocations", search: { ...wanted, ...more } as never, replace: true });
  const list = useList("trigger_invocation_list", {
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
