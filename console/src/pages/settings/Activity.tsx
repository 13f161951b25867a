// What MCP sessions called lately, by the label of the session.

import { useList } from "../../api/queries";
import { Age } from "../../parts/Age";
import { given, TextFilter, useFilters } from "../../parts/filters";
import { Empty, ForAdmins, Read } from "../../parts/Page";
import { Rows } from "../../parts/Rows";
import { State } from "../../parts/State";
import { count } from "../../words/numbers";
import { Sub } from "./Sub";

interface Wanted {
  label?: string;
  username?: string;
  tool?: string;
  outcome?: string;
}

const FILTERS: [keyof Wanted, string][] = [
  ["label", "Session label"],
  ["username", "User"],
  ["tool", "Tool"],
  ["outcome", "Outcome"],
];

export function Activity() {
  return (
    <Sub about="Calls of tools by MCP sessions that forward them: who, which tool, how it ended, how long it took; no arguments.">
      <ForAdmins what="The activity of MCP sessions">
        <List />
      </ForAdmins>
    </Sub>
  );
}

function List() {
  const [wanted, say] = useFilters<Wanted>();
  const asked = given(wanted);
  const list = useList("mcp_activity_list", asked, { every: 5_000 });
  return (
    <>
      <div className="filters">
        {FILTERS.map(([key, label]) => (
          <TextFilter key={key} label={label} value={wanted[key]} set={(text) => say({ [key]: text })} />
        ))}
      </div>
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label="Calls"
              rows={list.rows}
              id={(row) => `${row.at}/${row.label}/${row.tool}/${row.duration_ms}`}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={[
                { title: "At", cell: (row) => <Age at={row.at} /> },
                { title: "Session", cell: (row) => <code>{row.label || "–"}</code> },
                { title: "User", cell: (row) => row.username },
                { title: "Role", cell: (row) => row.role },
                { title: "Tool", cell: (row) => <code>{row.tool}</code> },
                { title: "Outcome", cell: (row) => <State word={row.outcome === "ok" ? "succeeded" : "failed"} /> },
                { title: "Code", cell: (row) => (row.outcome === "ok" ? "–" : <code>{row.outcome}</code>) },
                { title: "Milliseconds", cell: (row) => count(row.duration_ms), number: true },
                { title: "Transport", cell: (row) => row.transport },
              ]}
            />
          ) : Object.keys(asked).length ? (
            <p className="quiet">No call fits these filters.</p>
          ) : (
            <Empty command="sluice mcp --activity-forward --label NAME">
              No session has told of its calls. A session does so when it is started with --activity-forward.
            </Empty>
          )
        }
      </Read>
    </>
  );
}
