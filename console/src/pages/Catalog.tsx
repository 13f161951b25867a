// What there is to deploy or to build on: search, and the filters that the engine counts.

import { Button, SegmentedControl } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import type { Result, Schemas } from "../api/client";
import { useList } from "../api/queries";
import { TextFilter, useFilters } from "../parts/filters";
import { Head, Read } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { count } from "../words/numbers";

const KINDS = [
  { value: "workflow", label: "Workflows" },
  { value: "perspective", label: "Perspectives" },
  { value: "blueprint", label: "Blueprints" },
  { value: "job", label: "Jobs" },
];
const TAGS = 12;

interface Wanted {
  type?: Schemas["ItemType"];
  query?: string;
  tag?: string;
}

export function Catalog() {
  const [wanted, say] = useFilters<Wanted>();
  const type = wanted.type ?? "workflow";
  const list = useList("catalog_search", {
    type,
    ...(wanted.query ? { query: wanted.query } : {}),
    ...(wanted.tag ? { tags: [wanted.tag] } : {}),
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
                { title: "Availability", cell: (row) => <State word={row.availability} /> },
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
