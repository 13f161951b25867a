// One job: how it is, its document, its runs, its versions, where it runs, and what can be done with it.

import { Link, useParams, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import type { Schemas } from "../../api/client";
import { useRead } from "../../api/queries";
import { Code } from "../../editor/Code";
import { Age } from "../../parts/Age";
import { AsWhom, Facts, Head, Read, Section } from "../../parts/Page";
import { Rows } from "../../parts/Rows";
import { State } from "../../parts/State";
import { useAdmin } from "../../parts/session";
import { Tabs } from "../../parts/Tabs";
import { workloadColumns } from "../workloadColumns";
import { Actions } from "./Actions";
import { JobEditor } from "./JobEditor";
import { Runs } from "./Runs";
import { RunAndTrace } from "./Trace";
import { stateOf, textOf } from "./text";
import { Versions } from "./Versions";

type Shown = Schemas["Job"];

const TABS = [
  ["document", "Document"],
  ["runs", "Runs"],
  ["versions", "Versions"],
  ["workloads", "Workloads"],
] as const;
type Tab = (typeof TABS)[number][0];

export function Job() {
  const { name } = useParams({ strict: false }) as { name: string };
  const { tab = "document" } = useSearch({ strict: false }) as { tab?: Tab };
  const [staged, setStaged] = useState<number | null>(null);
  const read = useRead("job_get", { name, log_lines: 1 }, { every: 5_000 });
  const other = read.data !== undefined && read.data.name !== name; // the one before, until this one is here
  return (
    <Read of={other ? { ...read, data: undefined } : read}>
      {(job) => (
        <>
          <Head
            title={<code>{job.name}</code>}
            state={
              <>
                <State word={stateOf(job)} title={job.workloads[0]?.reason} /> <Age at={job.workloads[0]?.since} />
              </>
            }
            actions={<Actions job={job} />}
          />
          {job.managed_by && <Managed job={job} />}
          {staged !== null && (
            <div className="note" role="status">
              Version {staged} is staged. Deploy it to run it.
            </div>
          )}
          {job.last_failure && (
            <div className="note warning">
              <p>
                Failed <Age at={job.last_failure.at} />: {job.last_failure.reason}
              </p>
            </div>
          )}
          <Facts
            items={[
              ["Version", job.managed_by ? null : job.version],
              ["Draft", job.draft && `revision ${job.draft.revision} of ${job.draft.updated_by}`],
              ["Made from", job.draft?.origin],
              ["Runs on", job.workloads.map(({ worker }) => worker).join(", ")],
              ["Next run", job.schedule?.next && <Age key="next" at={job.schedule.next} />],
              ["Last run", job.schedule?.last && <Age key="last" at={job.schedule.last} />],
              [
                "Dead letters",
                job.letters?.waiting ? (
                  <Link key="letters" to="/issues">
                    {job.letters.waiting}
                  </Link>
                ) : null,
              ],
            ]}
          />
          <Tabs
            label="Parts of this job"
            of={TABS}
            now={tab}
            at={(one) => ({ to: "/jobs/$name", params: { name }, search: { tab: one } })}
          />
          {/* What is typed stays while another tab is looked at. */}
          <div hidden={tab !== "document"}>
            <Document key={name} job={job} staged={setStaged} />
          </div>
          {tab === "runs" && <Runs job={name} />}
          {tab === "versions" && <Versions job={job} />}
          {tab === "workloads" && <Workloads rows={job.workloads} />}
        </>
      )}
    </Read>
  );
}

function Managed({ job }: { job: Shown }) {
  const { origin } = job;
  return (
    <div className="note">
      <p>
        Deployment{" "}
        <Link to="/deployments/$name" params={{ name: job.managed_by ?? "" }}>
          <code>{job.managed_by}</code>
        </Link>{" "}
        manages this job{origin ? ` (step ${origin.step}, revision ${origin.revision})` : ""}. It is changed by a plan
        of the deployment; a clone can be edited here.
      </p>
    </div>
  );
}

function Document({ job, staged }: { job: Shown; staged: (version: number | null) => void }) {
  const admin = useAdmin();
  const [text] = useState(() => textOf(job)); // from here on the text in the browser is what counts
  if (job.managed_by || !admin) {
    const now = textOf(job);
    return (
      <>
        {!admin && (
          <p className="quiet">
            Editing and tracing jobs is for admins
            <AsWhom />
          </p>
        )}
        <Code label="Job as YAML" value={now} readOnly maxHeight="480px" />
        {admin && <RunAndTrace document={now} />}
      </>
    );
  }
  const { draft } = job;
  return (
    <JobEditor
      name={job.name}
      text={text}
      present={draft && { revision: draft.revision, text: draft.document, by: draft.updated_by }}
      saved={(name, version) => {
        if (name === job.name) staged(version ?? null);
        else location.assign(`${location.pathname.slice(0, location.pathname.lastIndexOf("/"))}/${name}`);
      }}
    />
  );
}

function Workloads({ rows }: { rows: Shown["workloads"] }) {
  if (!rows.length) return <p className="quiet">It runs nowhere. Deploy it.</p>;
  return (
    <Section title="Where it runs">
      <Rows
        label="Workloads"
        rows={rows}
        id={(row) => row.id}
        columns={workloadColumns("health", "replica", "state", "worker", "version", "restarts", "since", "why")}
      />
    </Section>
  );
}
