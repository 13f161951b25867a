// One item of the catalog: what it is, its picture, what it asks for, and what can be made of it.

import { Button } from "@mantine/core";
import { Link, useParams } from "@tanstack/react-router";
import { useRead } from "../api/queries";
import { Graph } from "../graph/Graph";
import { Facts, Head, Read, Section } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { useAdmin } from "../parts/session";
import { type ItemKind, itemOf } from "./planning";

export const DEPLOYS = new Set(["workflow", "blueprint"]);

export function Item() {
  const { kind, slug } = useParams({ strict: false }) as { kind: ItemKind; slug: string };
  const admin = useAdmin();
  const read = useRead("catalog_get", { slug, type: kind });
  const drawn = useRead("workflow_get", { slug, type: kind }, { enabled: (kind as string) !== "job" });
  return (
    <Read of={read}>
      {(item) => (
        <>
          <Head
            title={item.title}
            state={<State word={item.availability} />}
            actions={
              admin &&
              DEPLOYS.has(kind) && (
                <Button component={Link} to={`/catalog/${kind}/${slug}/deploy`}>
                  Plan and register
                </Button>
              )
            }
          />
          <p>{item.summary}</p>
          <Facts
            items={[
              ["Item", <code key="item">{`${item.type}:${item.slug}@${item.version}`}</code>],
              ["Source", item.source],
              ["Channels", item.hops],
              ["Versions", item.versions?.join(", ")],
              ["Tags", item.tags.join(", ")],
            ]}
          />
          {drawn.data?.graph && drawn.data.graph.nodes.length > 0 && (
            <Graph graph={drawn.data.graph} label={`The steps of ${item.title}`} />
          )}
          {item.wizard && item.wizard.length > 0 && (
            <Section title="Asks for">
              <Rows
                label="Fields"
                rows={item.wizard}
                id={(row) => row.field}
                columns={[
                  { title: "Field", cell: (row) => <code>{row.field}</code> },
                  { title: "Type", cell: (row) => row.type },
                  { title: "Required", cell: (row) => (row.required ? "yes" : "no") },
                  {
                    title: "Default",
                    cell: (row) => (row.default == null ? "–" : <code>{JSON.stringify(row.default)}</code>),
                  },
                ]}
              />
            </Section>
          )}
          {item.related && item.related.length > 0 && (
            <Section title="Related">
              <Rows
                label="Related items"
                rows={item.related}
                id={(row) => row.relation + row.item}
                columns={[
                  { title: "How", cell: (row) => row.relation.replaceAll("-", " ") },
                  {
                    title: "Item",
                    cell: (row) => (
                      <Link to="/catalog/$kind/$slug" params={itemOf(row.item)}>
                        {row.title}
                      </Link>
                    ),
                  },
                ]}
              />
            </Section>
          )}
        </>
      )}
    </Read>
  );
}
