// The plans that are kept.

import { Link } from "@tanstack/react-router";
import type { Args } from "../api/client";
import { useList } from "../api/queries";
import { Age } from "../parts/Age";
import { ChoiceFilter, given, TextFilter, useFilters } from "../parts/filters";
import { Empty, Head, Read } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";

type Wanted = Pick<Args<"plan_list">, "name" | "state">;

const STATES = ["open", "applied", "stale", "expired", "discarded"] as const;

/** A plan that is open and blocked can only be looked at. */
function Standing({ state, blockers }: { state: string; blockers: number }) {
  const blocked = state === "open" && blockers > 0;
  return (
    <>
      <State word={state} />
      {blocked && ` ${blockers} ${blockers === 1 ? "blocker" : "blockers"}`}
    </>
  );
}

export function Plans() {
  const [wanted, say] = useFilters<Wanted>();
  const list = useList("plan_list", given(wanted), { every: 10_000 });
  return (
    <>
      <Head title="Plans" />
      <div className="filters">
        <ChoiceFilter
          label="State"
          any="Any state"
          of={STATES}
          value={wanted.state ?? undefined}
          set={(state) => say({ state })}
        />
        <TextFilter label="Deployment" value={wanted.name ?? undefined} set={(name) => say({ name })} />
      </div>
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label="Plans"
              rows={list.rows}
              id={(row) => row.plan_id}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={[
                { title: "State", field: "state", cell: (row) => <Standing {...row} /> },
                {
                  title: "Plan",
                  cell: (row) => (
                    <Link to="/plans/$id" params={{ id: row.plan_id }}>
                      <code>{row.plan_id}</code>
                    </Link>
                  ),
                },
                { title: "Deployment", field: "name", cell: (row) => <code>{row.name}</code> },
                { title: "On revision", cell: (row) => row.base_revision, number: true },
                { title: "Made", field: "created_at", cell: (row) => <Age at={row.created_at} /> },
                { title: "By", field: "by", cell: (row) => row.by },
                { title: "Ends", cell: (row) => (row.state === "open" ? <Age at={row.expires_at} /> : "–") },
              ]}
            />
          ) : wanted.name || wanted.state ? (
            <p className="quiet">No plan fits these filters.</p>
          ) : (
            <Empty command="sluice plan hello --from workflow:quickstart-file-store-roundtrip --set path=files">
              A plan says what would change before anything does. <Link to="/catalog">The catalog</Link> has what can be
              planned.
            </Empty>
          )
        }
      </Read>
    </>
  );
}
