// The staged versions of a job, and what one of them changed.

import { Button } from "@mantine/core";
import type { Schemas } from "../../api/client";
import { useRead } from "../../api/queries";
import { Age } from "../../parts/Age";
import { useFilters } from "../../parts/filters";
import { Read, Section } from "../../parts/Page";
import { Rows } from "../../parts/Rows";
import { visible } from "../../words/code";

export function Versions({ job }: { job: Schemas["Job"] }) {
  const [{ since }, say] = useFilters<{ since?: number }>();
  if (!job.versions.length) return <p className="quiet">Nothing is staged. Staging the draft makes version 1.</p>;
  return (
    <>
      <Rows
        label="Versions"
        rows={job.versions}
        id={(row) => String(row.version)}
        columns={[
          { title: "Version", cell: (row) => row.version, number: true },
          { title: "Staged", cell: (row) => <Age at={row.created_at} /> },
          { title: "By", cell: (row) => row.created_by },
          { title: "Digest", cell: (row) => <code>{row.digest.slice(0, 12)}</code> },
          {
            title: "Compare",
            cell: (row) => (
              <Button
                variant={row.version === since ? "light" : "subtle"}
                size="compact-xs"
                aria-pressed={row.version === since}
                onClick={() => say({ since: row.version === since ? undefined : row.version })}
              >
                What changed since version {row.version}
              </Button>
            ),
          },
        ]}
      />
      {since !== undefined && <Changed name={job.name} since={since} draft={job.draft !== null} />}
    </>
  );
}

function Changed({ name, since, draft }: { name: string; since: number; draft: boolean }) {
  const staged = useRead("job_get", { name, compare: since, log_lines: 1 });
  const open = useRead("job_get", { name, compare: 0, version: since, log_lines: 1 }, { enabled: draft });
  return (
    <>
      <Section title={`From version ${since} to the newest one`}>
        <Read of={staged}>{(job) => <Diff text={job.diff} />}</Read>
      </Section>
      {draft && (
        <Section title={`From version ${since} to the draft`}>
          <Read of={open}>{(job) => <Diff text={job.diff} />}</Read>
        </Section>
      )}
    </>
  );
}

const TONES: Record<string, string> = { "+": "after", "-": "before" };

export function Diff({ text }: { text: string | undefined }) {
  if (!text) return <p className="quiet">They say the same.</p>;
  return (
    <pre className="text" tabIndex={0}>
      {text.split("\n").map((line, place) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: lines of a text that does not change
        <span key={place} className={TONES[line[0] ?? ""]}>
          {`${visible(line)}\n`}
        </span>
      ))}
    </pre>
  );
}
