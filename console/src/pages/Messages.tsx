// What was said on the bus: filters in the address, the payload of one beside the list.

import { Button, Checkbox } from "@mantine/core";
import { useState } from "react";
import { useAct } from "../api/act";
import { save } from "../api/client";
import { useList } from "../api/queries";
import { Age } from "../parts/Age";
import { ChoiceFilter, given, TextFilter, useFilters } from "../parts/filters";
import { Head, Read, Refusal } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { useTenant } from "../parts/session";
import { coded, visible } from "../words/code";

const KINDS = ["system", "user"] as const;

interface Wanted {
  kind?: (typeof KINDS)[number];
  type?: string;
  job?: string;
  tag?: string;
  text?: string;
}

const FILTERS: [Exclude<keyof Wanted, "kind">, string][] = [
  ["type", "Type"],
  ["job", "Job"],
  ["tag", "Tag"],
  ["text", "Text"],
];
const EVERY_MS = 3000;

/** All messages that fit, as lines of JSON in a file. */
const exported = (filters: Wanted, tenant: string) =>
  save(`/api/messages/export?${new URLSearchParams(Object.entries(filters))}`, "messages.ndjson", tenant);

export function Messages() {
  const [wanted, say] = useFilters<Wanted>();
  const [paused, setPaused] = useState(false);
  const tenant = useTenant();
  const { act, busy, problem } = useAct();
  const list = useList("message_search", given(wanted), paused ? {} : { every: EVERY_MS });
  return (
    <>
      <Head title="Messages" />
      <div className="filters">
        <ChoiceFilter label="Kind" any="Any kind" of={KINDS} value={wanted.kind} set={(kind) => say({ kind })} />
        {FILTERS.map(([key, label]) => (
          <TextFilter key={key} label={label} value={wanted[key]} set={(text) => say({ [key]: text })} />
        ))}
        <Checkbox label="Pause" checked={paused} onChange={(event) => setPaused(event.currentTarget.checked)} />
        <Button variant="subtle" loading={busy} onClick={() => void act(() => exported(given(wanted), tenant))}>
          Export these
        </Button>
      </div>
      {problem && <Refusal problem={problem} />}
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label="Messages"
              live
              rows={list.rows}
              id={(row) => row.id}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={[
                { title: "At", cell: (row) => <Age at={row.at} /> },
                { title: "Kind", cell: (row) => row.kind },
                { title: "Type", cell: (row) => <code>{visible(row.message_type)}</code> },
                { title: "Tag", cell: (row) => <code>{visible(row.tag ?? "")}</code> },
                { title: "Source", cell: (row) => row.source },
                { title: "Job", cell: (row) => <code>{row.job_name}</code> },
                { title: "Worker", cell: (row) => row.worker_id },
                {
                  title: "Payload",
                  cell: (row) => (
                    <details>
                      <summary>
                        <code>{coded(row.message_data).slice(0, 60)}</code>
                      </summary>
                      <pre className="text">{coded(row.message_data, 2)}</pre>
                    </details>
                  ),
                },
              ]}
            />
          ) : (
            <p className="quiet">No message fits.</p>
          )
        }
      </Read>
    </>
  );
}
