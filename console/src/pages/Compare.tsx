// Two versions of a document, or its draft with one: in words, and line by line.

import { Select } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { lazy, Suspense } from "react";
import { useRead } from "../api/queries";
import { useFilters } from "../parts/filters";
import { Head, Loading, Read } from "../parts/Page";
import { State } from "../parts/State";
import { coded } from "../words/code";
import { useDocument } from "./Document";

const Differences = lazy(() => import("../editor/Differences"));

interface Wanted {
  from?: string | number;
  to?: string | number;
}

export function Compare() {
  const { kind, slug } = useDocument();
  const [wanted, say] = useFilters<Wanted>();
  const read = useRead("workflow_diff", {
    slug,
    type: kind,
    ...(wanted.from === undefined ? {} : { from_version: wanted.from }),
    ...(wanted.to === undefined ? {} : { to_version: wanted.to }),
  });
  const item = useRead("workflow_get", { slug, type: kind });
  const choices = [
    ...(item.data?.draft_revision ? ["draft"] : []),
    ...(item.data?.versions ?? []).toReversed().map(({ version }) => String(version)),
  ];
  return (
    <>
      <Head
        title={
          <>
            Compare versions of{" "}
            <Link to="/workflows/$kind/$slug" params={{ kind, slug }}>
              {slug}
            </Link>
          </>
        }
      />
      <Read of={read}>
        {(found) => (
          <>
            <div className="filters">
              <Select
                aria-label="From"
                data={choices}
                value={String(found.from_version)}
                allowDeselect={false}
                w={140}
                onChange={(from) => from && say({ from })}
              />
              <span>→</span>
              <Select
                aria-label="To"
                data={choices}
                value={String(found.to_version)}
                allowDeselect={false}
                w={140}
                onChange={(to) => to && say({ to })}
              />
              <span className="quiet">
                {found.summary.added} added, {found.summary.removed} removed, {found.summary.changed} changed
              </span>
            </div>
            {found.changes.map((change) => (
              <details key={change.kind + change.id} className="change" open>
                <summary>
                  <State word={change.action} /> {change.kind} <code>{change.id}</code>
                </summary>
                <div className="values">
                  {change.changes.map((one) => (
                    <div key={one.key}>
                      {one.key}: {one.before !== undefined && <span className="before">{coded(one.before)}</span>}
                      {" → "}
                      {one.after !== undefined && <span className="after">{coded(one.after)}</span>}
                    </div>
                  ))}
                </div>
              </details>
            ))}
            {found.changes.length === 0 && <p className="quiet">They say the same.</p>}
            {found.changes_left_out > 0 && <p className="quiet">{found.changes_left_out} more changes.</p>}
            <Texts from={found.from_version} to={found.to_version} />
          </>
        )}
      </Read>
    </>
  );
}

function Texts({ from, to }: { from: string | number; to: string | number }) {
  const { kind, slug } = useDocument();
  const before = useRead("workflow_get", { slug, type: kind, version: from, detail: "detailed" });
  const after = useRead("workflow_get", { slug, type: kind, version: to, detail: "detailed" });
  return (
    <Read of={before}>
      {(left) => (
        <Read of={after}>
          {(right) => (
            <Suspense fallback={<Loading />}>
              <Differences
                before={{ name: `Version ${from}`, text: left.text ?? "" }}
                after={{ name: `Version ${to}`, text: right.text ?? "" }}
              />
            </Suspense>
          )}
        </Read>
      )}
    </Read>
  );
}
