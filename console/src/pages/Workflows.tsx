// The documents of the workspace: workflows, perspectives and blueprints, with their drafts and versions.

import { Button } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import type { Args } from "../api/client";
import { useList } from "../api/queries";
import { Age } from "../parts/Age";
import { ChoiceFilter, TextFilter, useFilters } from "../parts/filters";
import { Empty, Head, Read } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { useAdmin } from "../parts/session";

type Wanted = Pick<Args<"workflow_list">, "type" | "state" | "query"> & { source?: Source };

const KINDS = ["workflow", "perspective", "blueprint"] as const;
const STATES = ["draft", "published", "retired"] as const;
const SOURCES = ["local", "builtin", "portal", "all"] as const;
type Source = (typeof SOURCES)[number];

export function Workflows() {
  const [wanted, say] = useFilters<Wanted>();
  const admin = useAdmin();
  const source = wanted.source ?? "local";
  const list = useList("workflow_list", {
    ...(wanted.type ? { type: wanted.type } : {}),
    ...(wanted.state ? { state: wanted.state } : {}),
    ...(wanted.query ? { query: wanted.query } : {}),
    ...(source === "all" ? {} : { source }),
  });
  return (
    <>
      <Head
        title="Workflows"
        actions={
          admin && (
            <Button component={Link} to="/workflows/new">
              New workflow
            </Button>
          )
        }
      />
      <div className="filters">
        <TextFilter label="Name contains" value={wanted.query} set={(query) => say({ query })} />
        <ChoiceFilter label="Kind" any="Any kind" of={KINDS} value={wanted.type} set={(type) => say({ type })} />
        <ChoiceFilter label="State" any="Any state" of={STATES} value={wanted.state} set={(state) => say({ state })} />
        <ChoiceFilter label="Whose" any="local" of={SOURCES} value={source} set={(one) => say({ source: one })} />
      </div>
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label="Workflows"
              rows={list.rows}
              id={(row) => `${row.type}:${row.slug}`}
              by={list.by}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={[
                {
                  title: "Title",
                  cell: (row) => (
                    <Link to="/workflows/$kind/$slug" params={{ kind: row.type, slug: row.slug }}>
                      {row.title}
                    </Link>
                  ),
                },
                { title: "Slug", field: "slug", cell: (row) => <code>{row.slug}</code> },
                { title: "Kind", field: "type", cell: (row) => row.type },
                { title: "State", field: "state", cell: (row) => <State word={row.state} /> },
                { title: "Version", cell: (row) => row.version ?? "–", number: true },
                {
                  title: "Draft",
                  cell: (row) =>
                    row.draft_revision === null ? (
                      "–"
                    ) : (
                      <Link to="/workflows/$kind/$slug/edit" params={{ kind: row.type, slug: row.slug }}>
                        revision {row.draft_revision}
                      </Link>
                    ),
                },
                { title: "Source", field: "source", cell: (row) => row.source },
                { title: "Changed", field: "updated_at", cell: (row) => <Age at={row.updated_at} /> },
                { title: "By", field: "updated_by", cell: (row) => row.updated_by ?? "–" },
              ]}
            />
          ) : wanted.type || wanted.state || wanted.query || source !== "local" ? (
            <p className="quiet">No document fits these filters.</p>
          ) : (
            <Empty command="sluice workflow save -f examples/greetings.yaml">
              Nothing here is your own yet. Write a workflow from nothing, or start from an item of{" "}
              <Link to="/catalog">the catalog</Link>.
            </Empty>
          )
        }
      </Read>
    </>
  );
}
