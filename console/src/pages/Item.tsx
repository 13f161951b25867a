// One item of the catalog: what it is, its picture, what it asks for, and what can be made of it.

import { Button } from "@mantine/core";
import { Link, useParams } from "@tanstack/react-router";
import type { Schemas } from "../api/client";
import { useRead } from "../api/queries";
import { Graph } from "../graph/Graph";
import { Age } from "../parts/Age";
import { useFilters } from "../parts/filters";
import { Facts, Head, Read, Section } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { useAdmin } from "../parts/session";
import { coded } from "../words/code";
import { Bring } from "./Catalog";
import { JobText } from "./jobs/JobText";
import { type ItemKind, itemOf } from "./planning";

export const DEPLOYS = new Set(["workflow", "blueprint"]);

export function Item() {
  const { kind, slug } = useParams({ strict: false }) as { kind: ItemKind; slug: string };
  const admin = useAdmin();
  const [{ version }, say] = useFilters<{ version?: string }>();
  const read = useRead("catalog_get", { slug, type: kind, version, detail: "detailed" });
  const drawn = useRead("workflow_get", { slug, type: kind, version }, { enabled: (kind as string) !== "job" });
  return (
    <Read of={read}>
      {(item) => (
        <>
          <Head
            title={item.title}
            state={<State word={item.availability} />}
            actions={
              admin &&
              ((kind as string) === "job" ? (
                <Button component={Link} to={`/jobs/-new?from=${slug}`}>
                  New job of this
                </Button>
              ) : (
                DEPLOYS.has(kind) && (
                  <Button component={Link} to={`/catalog/${kind}/${slug}/deploy`}>
                    Plan and register
                  </Button>
                )
              ))
            }
          />
          <p>
            {item.summary} <Bring item={item} />
          </p>
          <Facts
            items={[
              ["Item", <code key="item">{`${item.type}:${item.slug}@${item.version}`}</code>],
              ["Source", item.source],
              ["Channels", item.hops],
              [
                "Versions",
                item.versions.length > 1 ? (
                  <Versions key="versions" of={item.versions.map(String)} now={String(item.version)} set={say} />
                ) : (
                  item.versions.join(", ")
                ),
              ],
              ["Tags", item.tags.join(", ")],
            ]}
          />
          {drawn.data?.graph && drawn.data.graph.nodes.length > 0 && (
            <Graph graph={drawn.data.graph} label={`The steps of ${item.title}`} />
          )}
          {(kind as string) === "job" && <JobText slug={slug} />}
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
                    cell: (row) => (row.default == null ? "–" : <code>{coded(row.default)}</code>),
                  },
                ]}
              />
            </Section>
          )}
          {item.provenance && <Provenance of={item.provenance} />}
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

interface VersionsGiven {
  of: string[];
  now: string;
  set: (more: { version: string }) => void;
}

function Versions({ of, now, set }: VersionsGiven) {
  return of.map((version) => (
    <Button
      key={version}
      variant={version === now ? "light" : "subtle"}
      aria-pressed={version === now}
      onClick={() => set({ version })}
    >
      {version}
    </Button>
  ));
}

function Provenance({ of }: { of: Schemas["ItemProvenance"] }) {
  return (
    <Section title="Where it came from">
      <Facts
        items={[
          ["Source", of.source],
          ["Author", of.author],
          ["Portal", of.portal],
          ["Location", of.location],
          ["Installed", of.installed_at && <Age key="at" at={of.installed_at} />],
          ["By", of.installed_by],
          ["Published", of.published_at && <Age key="published" at={of.published_at} />],
          ["Derived from", of.derived_from],
          ["SHA-256", of.sha256 && <code key="sum">{of.sha256}</code>],
        ]}
      />
    </Section>
  );
}
