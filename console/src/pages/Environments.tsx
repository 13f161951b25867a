// How each environment stands that files describe. Files are applied where they are kept (CI, `sluice gitops`), not here.

import { Link } from "@tanstack/react-router";
import type { Schemas } from "../api/client";
import { useRead } from "../api/queries";
import { Age } from "../parts/Age";
import { Refusal, Section } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { counted } from "../words/numbers";

type Environment = Schemas["EnvironmentStatus"];

export function Environments() {
  const read = useRead("gitops_status", {}, { every: 30_000 });
  if (read.error && read.error.code !== "not_licensed") return <Refusal problem={read.error} />;
  const environments = read.data?.environments.filter((one) => one.environment || one.commit_sha || one.last_run) ?? [];
  if (!environments.length) return null; // what no file describes is in the list above, and nowhere else
  return (
    <Section title="Environments kept by files (GitOps)">
      <Rows
        label="Environments kept by files"
        rows={environments}
        id={(row) => row.environment}
        columns={[
          {
            title: "State",
            cell: (row) => (
              <State word={row.in_sync ? "healthy" : "degraded"} title={row.in_sync ? "as its files say" : "drift"} />
            ),
          },
          { title: "Environment", field: "environment", cell: (row) => <code>{row.environment || "–"}</code> },
          { title: "Commit", cell: (row) => <code>{row.commit_sha?.slice(0, 12) ?? "–"}</code> },
          { title: "Last run", cell: (row) => <LastRun run={row.last_run} /> },
          {
            title: "Deployments",
            cell: (row) =>
              row.deployments.map((one, n) => (
                <span key={one.name}>
                  {n > 0 && ", "}
                  <Link to="/deployments/$name" params={{ name: one.name }}>
                    <code>{one.name}</code>
                  </Link>
                </span>
              )),
          },
          {
            title: "Drift",
            cell: (row) => (
              <span title={row.drift.map(({ kind, id, what }) => `${kind} ${id}: ${what}`).join("\n")}>
                {row.drift.length ? counted(row.drift.length, "thing") : "–"}
              </span>
            ),
          },
        ]}
      />
      <p className="quiet">
        They are applied where the files are: <code>sluice gitops apply</code>.
      </p>
    </Section>
  );
}

function LastRun({ run }: { run: Environment["last_run"] }) {
  if (!run) return "–";
  return (
    <>
      <State word={run.state} title={run.reason} /> {run.action} by {run.by} <Age at={run.started_at} />
    </>
  );
}
