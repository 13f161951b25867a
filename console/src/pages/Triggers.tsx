// The actions that are published: what each does to the world, and whether it can be run now.

import { Button, Checkbox } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useList } from "../api/queries";
import { TextFilter, useFilters } from "../parts/filters";
import { Empty, Head, Read } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { useAdmin } from "../parts/session";
import { nameOf } from "./triggerForm";

interface Wanted {
  tag?: string;
  everywhere?: boolean;
  invokable?: boolean;
}

const EFFECTS: Record<string, string> = { read: "only reads", write: "changes something", destructive: "destroys" };

/** Where it is offered, in words. */
export const surfacesOf = (publication: { mcp?: boolean; ui_admin?: boolean; ui_user?: boolean }): string =>
  [publication.mcp && "MCP", publication.ui_admin && "console, admins", publication.ui_user && "console, users"]
    .filter(Boolean)
    .join("; ") || "nowhere";

export function Triggers() {
  const [wanted, say] = useFilters<Wanted>();
  const admin = useAdmin();
  const list = useList("trigger_list", {
    ...(admin && wanted.everywhere ? {} : { surface: "ui" as const }),
    ...(wanted.invokable ? { invokable_only: true } : {}),
    ...(wanted.tag ? { tag: wanted.tag } : {}),
  });
  return (
    <>
      <Head
        title="Triggers"
        actions={
          admin && (
            <Button component={Link} to="/new-trigger">
              Publish a trigger
            </Button>
          )
        }
      />
      <div className="filters">
        <TextFilter label="Tag" value={wanted.tag} set={(tag) => say({ tag })} />
        <Checkbox
          label="Only those that I may run"
          checked={wanted.invokable ?? false}
          onChange={(event) => say({ invokable: event.currentTarget.checked || undefined })}
        />
        {admin && (
          <Checkbox
            label="Also those that this page does not offer"
            checked={wanted.everywhere ?? false}
            onChange={(event) => say({ everywhere: event.currentTarget.checked || undefined })}
          />
        )}
      </div>
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label="Triggers"
              rows={list.rows}
              id={(row) => row.slug}
              by={list.by}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={[
                {
                  title: "Trigger",
                  cell: (row) => (
                    <Link to="/triggers/$slug" params={{ slug: row.slug }}>
                      {nameOf(row)}
                    </Link>
                  ),
                },
                { title: "Slug", field: "slug", cell: (row) => <code>{row.slug}</code> },
                { title: "What it does", cell: (row) => row.description },
                { title: "Effect", field: "effect", cell: (row) => EFFECTS[row.effect] ?? row.effect },
                {
                  title: "Target",
                  cell: (row) => <State word={row.target_up ? "running" : "offline"} title={row.target_job_name} />,
                },
                { title: "Offered", cell: (row) => surfacesOf(row.publication) },
                { title: "May I run it", cell: (row) => (row.may_run ? "yes" : "no") },
                { title: "Revision", field: "revision", cell: (row) => row.revision, number: true },
              ]}
            />
          ) : (
            <Empty {...(admin ? { command: "sluice trigger publish TRIGGER.json" } : {})}>
              A trigger is a curated action that people and agents run now.{" "}
              {admin ? "None is published for this page." : "An admin publishes them; none is offered to users here."}
            </Empty>
          )
        }
      </Read>
    </>
  );
}
