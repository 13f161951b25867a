// What was said on the bus: filters in the address, the payload of one beside the list.

import { Checkbox, Select, TextInput } from "@mantine/core";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { useList } from "../api/queries";
import { Age } from "../parts/Age";
import { Head, Read } from "../parts/Page";
import { Rows } from "../parts/Rows";

interface Wanted {
  kind?: string;
  type?: string;
  job?: string;
  tag?: string;
  text?: string;
}

const FILTERS: [keyof Wanted, string][] = [
  ["type", "Type"],
  ["job", "Job"],
  ["tag", "Tag"],
  ["text", "Text"],
];
const EVERY_MS = 3000;

export function Messages() {
  const wanted = useSearch({ strict: false }) as Wanted;
  const navigate = useNavigate();
  const [paused, setPaused] = useState(false);
  const say = (more: Wanted) =>
    void navigate({ to: "/messages", search: { ...wanted, ...more } as never, replace: true });
  const given = Object.fromEntries(Object.entries(wanted).filter(([, value]) => value));
  const list = useList("message_search", given, paused ? {} : { every: EVERY_MS });
  return (
    <>
      <Head title="Messages" />
      <div className="filters">
        <Select
          aria-label="Kind"
          placeholder="Any kind"
          data={["system", "user"]}
          value={wanted.kind ?? null}
          clearable
          w={120}
          onChange={(kind) => say({ kind: kind ?? undefined } as Wanted)}
        />
        {FILTERS.map(([key, label]) => (
          <TextInput
            key={`${key} ${wanted[key]}`}
            aria-label={label}
            placeholder={label}
            defaultValue={wanted[key] ?? ""}
            w={140}
            onBlur={(event) => say({ [key]: event.currentTarget.value || undefined })}
            onKeyDown={(event) => event.key === "Enter" && event.currentTarget.blur()}
          />
        ))}
        <Checkbox label="Pause" checked={paused} onChange={(event) => setPaused(event.currentTarget.checked)} />
        <a href="/api/messages/export" download="messages.ndjson">
          Export all
        </a>
      </div>
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label="Messages"
              rows={list.rows}
              id={(row) => row.id}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={[
                { title: "At", cell: (row) => <Age at={row.at} /> },
                { title: "Kind", cell: (row) => row.kind },
                { title: "Type", cell: (row) => <code>{row.message_type}</code> },
                { title: "Tag", cell: (row) => <code>{row.tag}</code> },
                { title: "Source", cell: (row) => row.source },
                { title: "Job", cell: (row) => <code>{row.job_name}</code> },
                { title: "Worker", cell: (row) => row.worker_id },
                {
                  title: "Payload",
                  cell: (row) => (
                    <details>
                      <summary>
                        <code>{JSON.stringify(row.message_data)?.slice(0, 60)}</code>
                      </summary>
                      <pre className="text">{JSON.stringify(row.message_data, null, 2)}</pre>
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
