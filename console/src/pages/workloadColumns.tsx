// What is told of a workload, in the same columns on every page; each page names those that it has room for.

import { Link } from "@tanstack/react-router";
import type { Schemas } from "../api/client";
import { Age } from "../parts/Age";
import type { Column } from "../parts/Rows";
import { State } from "../parts/State";

interface Shown {
  job: string;
  replica: number;
  state: string;
  reason: string;
  restarts: number;
  version: string;
  health?: Schemas["Health"] | null;
  since?: string | null;
  deployment?: string | null;
  worker?: string | null;
  group?: string | null;
}

const COLUMNS = {
  health: {
    title: "Health",
    field: "health",
    cell: (row) => <State word={row.health ?? "progressing"} title={row.reason} />,
  },
  job: { title: "Job", field: "job", cell: (row) => <code>{row.job}</code> },
  replica: { title: "Replica", field: "replica", cell: (row) => row.replica, number: true },
  deployment: {
    title: "Deployment",
    field: "deployment",
    cell: (row) =>
      row.deployment ? (
        <Link to="/deployments/$name" params={{ name: row.deployment }}>
          <code>{row.deployment}</code>
        </Link>
      ) : (
        "–"
      ),
  },
  state: { title: "State", field: "state", cell: (row) => <State word={row.state} /> },
  worker: {
    title: "Worker",
    field: "worker",
    cell: (row) =>
      row.worker ? (
        <Link to="/workers/$name" params={{ name: row.worker }}>
          <code>{row.worker}</code>
        </Link>
      ) : (
        "–"
      ),
  },
  group: { title: "Group", field: "group", cell: (row) => row.group },
  version: { title: "Version", field: "version", cell: (row) => <code>{row.version}</code> },
  restarts: { title: "Restarts", field: "restarts", cell: (row) => row.restarts, number: true },
  since: { title: "Since", field: "since", cell: (row) => <Age at={row.since} /> },
  logs: {
    title: "Logs",
    cell: (row) => <Link to={`/logs?of=${encodeURIComponent(`${row.job}#${row.replica}`)}`}>Logs</Link>,
  },
  why: { title: "Why", cell: (row) => row.reason },
} satisfies Record<string, Column<Shown>>;

export const workloadColumns = (...names: (keyof typeof COLUMNS)[]): Column<Shown>[] =>
  names.map((name) => COLUMNS[name]);
