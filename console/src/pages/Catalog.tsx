// What there is to deploy or to build on: search, and the filters that the engine counts.

import { Button, SegmentedControl } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useAct } from "../api/act";
import { call, type Result, type Schemas } from "../api/client";
import { useList } from "../api/queries";
import { ChoiceFilter, given, TextFilter, useFilters } from "../parts/filters";
import { Head, Read } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { useAdmin, useTenant } from "../parts/session";
import { count } from "../words/numbers";

const KINDS = [
  { value: "workflow", label: "Workflows" },
  { value: "perspective", label: "Perspectives" },
  { value: "blueprint", label: "Blueprints" },
  { value: "job", label: "Jobs" },
];
const TAGS = 12;
const SOURCES = ["local", "builtin", "portal"] as const;
const AVAILABLE = ["installed", "portal-only", "update-available"] as const;

interface Wanted {
  type?: Schemas["ItemType"];
  query?: string;
  tag?: string;
  source?: (typeof SOURCES)[number];
  availability?: (typeof AVAILABLE)[number];
}

export function Catalog() {
  const [wanted, say] = useFilters<Wanted>();
  const type = wanted.type ?? "workflow";
  const list = useList("catalog_search", {
    type,
    ...(wanted.query ? { query: wanted.query } : {}),
    ...(wanted.tag ? { tags: [wanted.tag] } : {}),
    ...given({ source: wanted.source, availability: wanted.availability }),
  });
  const tags = Object.entries((list.data?.pages[0] as Result<"catalog_search"> | undefined)?.facets?.tags ?? {}).slice(
    0,
    TAGS,
  );
  return (
    <>
      <Head
        title="Catalog"
        state={<span className="quiet">{list.total !== undefined && `${count(list.total)} items`}</span>}
      />
      <div className="filters">
        <SegmentedControl
          data={KINDS}
          value={type}
          onChange={(kind) => say({ type: kind as Schemas["ItemType"], tag: undefined })}
          aria-label="Kind"
        />
        <TextFilter label="Search the catalog" value={wanted.query} set={(query) => say({ query })} />
        <ChoiceFilter
          label="Source"
          any="Any source"
          of={SOURCES}
          value={wanted.source}
          set={(source) => say({ source })}
        />
        <ChoiceFilter
          label="Availability"
          any="Any availability"
          of={AVAILABLE}
          value={wanted.availability}
          set={(availability) => say({ availability })}
        />
      </div>
      <div className="filters" role="group" aria-label="Tags">
        {tags.map(([tag, many]) => (
          <Button
            key={tag}
            variant={tag === wanted.tag ? "light" : "subtle"}
            aria-pressed={tag === wanted.tag}
            onClick={() => say({ tag: tag === wanted.tag ? undefined : tag })}
          >
            {tag} {many}
          </Button>
        ))}
      </div>
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label="Catalog"
              rows={list.rows}
              id={(row) => `${row.type}:${row.slug}@${row.version}`}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={[
                {
                  title: "Title",
                  cell: (row) => (
                    <Link to="/catalog/$kind/$slug" params={{ kind: row.type, slug: row.slug }}>
                      {row.title}
                    </Link>
                  ),
                },
                { title: "Summary", cell: (row) => row.summary },
                { title: "Version", cell: (row) => row.version, number: true },
                { title: "Source", cell: (row) => row.source },
                {
                  title: "Availability",
                  cell: (row) => (
                    <>
                      <State word={row.availability} /> <Bring item={row} />
                    </>
                  ),
                },
                { title: "Tags", cell: (row) => row.tags.join(", ") },
              ]}
            />
          ) : (
            <p className="quiet">Nothing in the catalog fits this search.</p>
          )
        }
      </Read>
    </>
  );
}

/** Install what only a portal has, or the newer version of what is here. Nothing runs by it. */
export function Bring({ item }: { item: Schemas["CatalogItem"] | Schemas["CatalogShown"] }) {
  const admin = useAdmin();
  const tenant = useTenant();
  const client = useQueryClient();
  const { act, busy, problem } = useAct();
  if (!admin || item.availability === "installed") return null;
  const { slug, type } = item;
  const update = item.availability === "update-available";
  const bring = () =>
    act(async () => {
      await call(update ? "catalog_update" : "catalog_install", { slug, type }, { tenant });
      await client.invalidateQueries();
    });
  return (
    <>
      <Button variant="light" loading={busy} onClick={() => void bring()}>
        {update ? `Update to ${item.available_version ?? "the newest"}` : "Install"}
      </Button>
      {problem && <span className="state failed">{problem.message}</span>}
    </>
  );
}
