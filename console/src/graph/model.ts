// What a graph shows: steps as nodes, channels and messages as edges. Pure; the figures come beside it.

import type { Schemas } from "../api/client";

export type StepNode = Pick<Schemas["GraphNode"], "id"> & Partial<Schemas["GraphNode"]>;

export type StepEdge = Pick<Schemas["GraphEdge"], "kind" | "from" | "to"> & Partial<Schemas["GraphEdge"]>;

export interface Graph {
  nodes: StepNode[];
  edges: StepEdge[];
}

export type Workload = Pick<Schemas["DeployedWorkload"], "job" | "state"> & Partial<Schemas["DeployedWorkload"]>;

export interface StepState {
  up: number;
  wanted: number;
  health: string;
  reason: string;
}

const WORST = ["quarantined", "failing", "down", "gone", "degraded", "warning", "progressing", "healthy"];

/** The graph of what is deployed: that of its source, and a node for every step that only the workloads know. */
export function graphOf(source: Graph | undefined, workloads: Workload[]): Graph {
  const nodes = new Map((source?.nodes ?? []).map((node) => [node.id, node]));
  for (const { step } of workloads) if (step && !nodes.has(step)) nodes.set(step, { id: step, use: "" });
  const edges = (source?.edges ?? []).filter((edge) => nodes.has(edge.from) && nodes.has(edge.to));
  return { nodes: [...nodes.values()], edges };
}

/** How each step is: its worst workload, those of its transports included. */
export function statesOf(workloads: Workload[]): Map<string, StepState> {
  const found = new Map<string, StepState>();
  for (const one of workloads) {
    const step = one.step ?? "";
    const now = found.get(step) ?? { up: 0, wanted: 0, health: "healthy", reason: "" };
    now.wanted += 1;
    if (one.state === "running") now.up += 1;
    const health = one.health ?? "progressing";
    if (WORST.indexOf(health) < WORST.indexOf(now.health)) {
      now.health = health;
      now.reason = one.reason ?? "";
    }
    found.set(step, now);
  }
  return found;
}

export type JobFigures = Pick<Schemas["JobMetrics"], "job"> & { metrics?: Schemas["Figures"] | null };

export interface Sample {
  at: number;
  totals: Map<
    string,
    { in: number; out: number; refused: number; errors: number; lag: number | null; waiting: number | null }
  >;
}

export interface StepFigures {
  /** Events a second that go out of it; null when that is not known (yet). */
  out: number | null;
  in: number | null;
  /** Refused since the workers started. */
  refused: number;
  errors: number;
  /** Errors a second. */
  errorRate: number | null;
  /** Seconds: the age of the oldest event that it has not taken or that its output has not accepted. */
  lag: number | null;
  /** Messages that no replica of it has taken. */
  waiting: number | null;
}

/** The counters of each step at one time. */
export function sampleOf(jobs: JobFigures[], steps: Map<string, string>, at: number): Sample {
  const totals: Sample["totals"] = new Map();
  for (const { job, metrics } of jobs) {
    const step = steps.get(job);
    if (!step || !metrics) continue;
    const transport = job.split("--").length > 2;
    const now = totals.get(step) ?? { in: 0, out: 0, refused: 0, errors: 0, lag: null, waiting: null };
    if (!transport) {
      now.in += metrics.events_in ?? 0;
      now.out += metrics.events_out ?? 0;
    }
    now.refused +=
      (metrics.refused_by_input ?? 0) + (metrics.refused_by_actions ?? 0) + (metrics.refused_by_output ?? 0);
    now.errors += metrics.errors ?? 0;
    if (metrics.lag_seconds !== null && metrics.lag_seconds !== undefined)
      now.lag = Math.max(now.lag ?? 0, metrics.lag_seconds);
    if (metrics.waiting !== undefined) now.waiting = (now.waiting ?? 0) + metrics.waiting;
    totals.set(step, now);
  }
  return { at, totals };
}

/** Those of the last `ms` that are needed to tell rates over so long. */
export function within(samples: Sample[], ms: number): Sample[] {
  const newest = samples.at(-1)?.at ?? 0;
  const first = samples.findLastIndex((one) => newest - one.at >= ms);
  return samples.slice(Math.max(0, first));
}

const QUIET_SECONDS = 10; // that nothing came has to be seen for as long before it is said

/** Rates between two samples; a counter that went back (a worker restarted) gives none, nor does a short while without
 * an event: what comes every five seconds would be none at first. */
export function figuresOf(before: Sample | undefined, now: Sample): Map<string, StepFigures> {
  const found = new Map<string, StepFigures>();
  for (const [step, totals] of now.totals) {
    const old = before?.totals.get(step);
    const seconds = before ? (now.at - before.at) / 1000 : 0;
    const rate = (a: number, b: number | undefined) =>
      b === undefined || seconds <= 0 || a < b || (a === b && seconds < QUIET_SECONDS) ? null : (a - b) / seconds;
    found.set(step, {
      in: rate(totals.in, old?.in),
      out: rate(totals.out, old?.out),
      refused: totals.refused,
      errors: totals.errors,
      errorRate: rate(totals.errors, old?.errors),
      lag: totals.lag,
      waiting: totals.waiting,
    });
  }
  return found;
}
