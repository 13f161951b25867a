// The audit log: who did what through which door, and what was refused.

import { Button } from "@mantine/core";
import { useAct } from "../../api/act";
import { call, leave, type RowOf } from "../../api/client";
import { useList } from "../../api/queries";
import { Age } from "../../parts/Age";
import { ChoiceFilter, given, TextFilter, useFilters } from "../../parts/filters";
import { ForAdmins, Read, Refusal } from "../../parts/Page";
import { Rows } from "../../parts/Rows";
import { State } from "../../parts/State";
import { useTenant } from "../../parts/session";
import { Sub } from "./Sub";

const SURFACES = ["mcp", "http", "cli", "internal"] as const;
const SINCE = ["1h", "24h", "7d", "30d"] as const;
const PAGE = 200;
const MOST = 20_000; // entries of an export; who needs more narrows the time

interface Wanted {
  username?: string;
  operation?: string;
  target?: string;
  label?: string;
  decision?: string;
  surface?: (typeof SURFACES)[number];
  since?: (typeof SINCE)[number];
}

const TEXTS: [Exclude<keyof Wanted, "surface" | "since">, string][] = [
  ["username", "User"],
  ["operation", "Operation"],
  ["target", "Done to"],
  ["label", "Session label"],
  ["decision", "Decision"],
];

/** All entries that fit, as lines of JSON. */
async function exported(wanted: Wanted, tenant: string): Promise<void> {
  const lines: string[] = [];
  let cursor: string | null = null;
  do {
    const more: Partial<{ cursor: string }> = cursor ? { cursor } : {};
    const page: { items: RowOf<"audit_list">[]; next_cursor: string | null } = await call(
      "audit_list",
      { ...wanted, limit: PAGE, ...more },
      { tenant },
    );
    lines.push(...page.items.map((entry) => JSON.stringify(entry)));
    cursor = page.next_cursor;
  } while (cursor && lines.length < MOST);
  leave(new Blob(lines.map((line) => `${line}\n`)), "audit.ndjson");
}

export function Audit() {
  return (
    <Sub about="What was changed in this tenant, and the calls that were refused. An entry never has arguments or credentials.">
      <ForAdmins what="The audit log">
        <List />
      </ForAdmins>
    </Sub>
  );
}

function List() {
  const [wanted, say] = useFilters<Wanted>();
  const tenant = useTenant();
  const { act, busy, problem } = useAct();
  const list = useList("audit_list", given(wanted), { every: 10_000 });
  return (
    <>
      <div className="filters">
        {TEXTS.map(([key, label]) => (
          <TextFilter key={key} label={label} value={wanted[key]} set={(text) => say({ [key]: text })} />
        ))}
        <ChoiceFilter
          label="Door"
          any="Any door"
          of={SURFACES}
          value={wanted.surface}
          set={(surface) => say({ surface })}
        />
        <ChoiceFilter label="Since" any="Any time" of={SINCE} value={wanted.since} set={(since) => say({ since })} />
        <Button variant="subtle" loading={busy} onClick={() => void act(() => exported(given(wanted), tenant))}>
          Export these
        </Button>
      </div>
      {problem && <Refusal problem={problem} />}
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label="Audit log"
              rows={list.rows}
              id={(row) => `${row.at}/${row.operation}/${row.target}`}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={[
                { title: "At", cell: (row) => <Age at={row.at} /> },
                { title: "User", cell: (row) => <code>{row.username}</code> },
                { title: "Role", cell: (row) => row.role },
                { title: "Door", cell: (row) => row.surface },
                { title: "Session", cell: (row) => row.label || "–" },
                { title: "Operation", cell: (row) => <code>{row.operation}</code> },
                { title: "Done to", cell: (row) => <code>{row.target}</code> },
                {
                  title: "Decision",
                  cell: (row) => (
                    <State word={row.decision === "allowed" ? "allowed" : "refused"} title={row.decision} />
                  ),
                },
                {
                  title: "Why",
                  cell: (row) =>
                    [row.decision === "allowed" ? "" : row.decision, row.reason].filter(Boolean).join(": "),
                },
              ]}
            />
          ) : (
            <p className="quiet">No entry fits these filters.</p>
          )
        }
      </Read>
    </>
  );
}
