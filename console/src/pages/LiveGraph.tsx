// The live graph of a deployment: as a picture or as a table, with what is chosen beside it.

import { Button, Checkbox } from "@mantine/core";
import { useEffect, useMemo, useRef, useState } from "react";
import type { Schemas } from "../api/client";
import { useList, useRead } from "../api/queries";
import { Board, BoardProvider } from "../graph/board";
import { Graph, LATE, VERY_LATE } from "../graph/Graph";
import {
  figuresOf,
  graphOf,
  type Sample,
  type StepFigures,
  type StepState,
  sampleOf,
  statesOf,
  type Workload,
  within,
} from "../graph/model";
import { folded, foldedFigures, foldedStates, isGroup, LARGE } from "../graph/walking";
import { Loading } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State, toneOf } from "../parts/State";
import { count, counted, rate } from "../words/numbers";
import { itemOf } from "./planning";
import { EdgeDrawer, StepDrawer } from "./StepDrawer";

type Shown = Schemas["Deployment"];

const FIGURES_MS = 2000;
const WINDOW_MS = 20_000; // over which rates are told: a job that fires each ten seconds has one, too
const PAGE = 200;
const UNWELL = 8; // steps that are named before the picture of a large graph

/** What is placed of a deployment: what it says of itself, or all of it where that was too much to say. */
function useWorkloads(shown: Shown): Workload[] {
  const all = useList("workload_list", { deployment: shown.name, limit: PAGE }, { every: 5_000, whole: true });
  return useMemo(
    () =>
      all.hasNextPage || !all.rows.length
        ? shown.workloads
        : all.rows.map(({ step, worker, ...rest }) => ({ ...rest, step: step ?? "", worker: worker ?? "" })),
    [all.hasNextPage, all.rows, shown.workloads],
  );
}

/** The figures of each step, from the counters of its jobs as they move. */
function useFigures(deployment: string, workloads: Workload[]): Map<string, StepFigures> {
  const steps = useMemo(() => new Map(workloads.map((one) => [one.job, one.step ?? ""])), [workloads]);
  const metrics = useList("job_metrics", { deployment, limit: PAGE }, { every: FIGURES_MS, whole: true });
  const samples = useRef<Sample[]>([]);
  const [figures, setFigures] = useState<Map<string, StepFigures>>(new Map());
  useEffect(() => {
    if (!metrics.dataUpdatedAt || metrics.hasNextPage || samples.current.at(-1)?.at === metrics.dataUpdatedAt) return;
    const sample = sampleOf(metrics.rows, steps, metrics.dataUpdatedAt);
    samples.current = within([...samples.current, sample], WINDOW_MS);
    const [oldest] = samples.current;
    setFigures(figuresOf(oldest === sample ? undefined : oldest, sample));
  }, [metrics.dataUpdatedAt, metrics.hasNextPage, metrics.rows, steps]);
  return figures;
}

export interface Chosen {
  step?: string | undefined;
  edge?: string | undefined;
  table?: boolean | undefined;
}

interface Given {
  shown: Shown;
  chosen: Chosen;
  choose: (chosen: Chosen) => void;
}

export function LiveGraph({ shown, chosen, choose }: Given) {
  const { kind, slug, version } = itemOf(shown.source);
  const source = useRead("workflow_get", { slug, type: kind, version }, { enabled: kind !== "blueprint" });
  const found = source.data?.graph;
  const workloads = useWorkloads(shown);
  const whole = useMemo(() => graphOf(found, workloads), [found, workloads]);
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const { graph, into } = useMemo(() => folded(whole, open), [whole, open]);
  const states = useMemo(() => statesOf(workloads), [workloads]);
  const figures = useFigures(shown.name, workloads);
  const [board] = useState(() => new Board());
  useEffect(() => board.tell(foldedStates(states, into), foldedFigures(figures, into)), [board, states, figures, into]);
  const hidden = useMemo(() => {
    const many = new Map<string, number>();
    for (const group of into.values()) many.set(group, (many.get(group) ?? 0) + 1);
    return many;
  }, [into]);
  const pick = (id: string) => {
    if (isGroup(id)) setOpen(new Set([...open, id]));
    else choose({ step: id, edge: undefined });
  };
  const edge = chosen.edge ? whole.edges.find(({ from, to }) => `${from} ${to}` === chosen.edge) : undefined;
  const close = () => choose({ step: undefined, edge: undefined });
  return (
    <BoardProvider value={board}>
      <div className="filters">
        <Checkbox
          label="As table"
          checked={chosen.table ?? false}
          onChange={(event) => choose({ table: event.currentTarget.checked || undefined })}
        />
        {whole.nodes.length > LARGE && (
          <>
            <span className="quiet">
              {counted(whole.nodes.length, "step")}, {count(into.size)} hidden in {counted(hidden.size, "group")}
            </span>
            <Button variant="subtle" onClick={() => setOpen(into.size ? new Set(["*"]) : new Set())}>
              {into.size ? "Show all steps" : "Fold them again"}
            </Button>
          </>
        )}
      </div>
      {into.size > 0 && (
        <Unwell
          states={states}
          into={into}
          pick={(step, group) => {
            setOpen(new Set([...open, group]));
            choose({ step, edge: undefined });
          }}
        />
      )}
      <div className="beside">
        {source.isLoading ? (
          <Loading />
        ) : chosen.table ? (
          <Table nodes={whole.nodes.map(({ id }) => id)} states={states} figures={figures} pick={pick} />
        ) : (
          <div>
            <Graph
              graph={graph}
              label={`The steps of ${shown.name}`}
              chosen={chosen.step}
              choose={pick}
              chooseEdge={(id) => choose({ edge: id, step: undefined })}
              hidden={hidden}
            />
            <p className="quiet">
              Edges: events a second over the last 20 s, messages that wait, age of the oldest; amber from {LATE} s
              behind, red from {VERY_LATE} s; a dash is not known.
            </p>
          </div>
        )}
        {chosen.step && (
          <StepDrawer
            key={chosen.step}
            deployment={shown.name}
            step={chosen.step}
            workloads={workloads}
            close={close}
          />
        )}
        {edge && <EdgeDrawer key={chosen.edge} deployment={shown.name} edge={edge} choose={pick} close={close} />}
      </div>
    </BoardProvider>
  );
}

interface UnwellGiven {
  states: Map<string, StepState>;
  into: ReadonlyMap<string, string>;
  pick: (step: string, group: string) => void;
}

/** The steps of a large graph that are not well, before those that are. */
function Unwell({ states, into, pick }: UnwellGiven) {
  const found = [...states].filter(([step, { health }]) => into.has(step) && toneOf(health) !== "well");
  if (!found.length) return null;
  return (
    <div className="filters" role="group" aria-label="Steps that are not well">
      {found.slice(0, UNWELL).map(([step, { health, reason }]) => (
        <Button key={step} variant="default" title={reason} onClick={() => pick(step, into.get(step) ?? "")}>
          <State word={health} /> &nbsp;<code>{step}</code>
        </Button>
      ))}
      {found.length > UNWELL && <span className="quiet">{found.length - UNWELL} more</span>}
    </div>
  );
}

interface TableGiven {
  nodes: string[];
  states: Map<string, StepState>;
  figures: Map<string, StepFigures>;
  pick: (step: string) => void;
}

function Table({ nodes, states, figures, pick }: TableGiven) {
  const figure = (step: string) => figures.get(step);
  return (
    <Rows
      label="Steps"
      rows={nodes}
      id={(step) => step}
      columns={[
        {
          title: "Health",
          key: (step) => states.get(step)?.health,
          cell: (step) => <State word={states.get(step)?.health ?? "unknown"} title={states.get(step)?.reason} />,
        },
        {
          title: "Step",
          key: (step) => step,
          cell: (step) => (
            <Button variant="subtle" onClick={() => pick(step)}>
              <code>{step}</code>
            </Button>
          ),
        },
        {
          title: "Up",
          cell: (step) => `${states.get(step)?.up ?? 0}/${states.get(step)?.wanted ?? 0}`,
          number: true,
        },
        { title: "In", key: (step) => figure(step)?.in, cell: (step) => rate(figure(step)?.in), number: true },
        { title: "Out", key: (step) => figure(step)?.out, cell: (step) => rate(figure(step)?.out), number: true },
        {
          title: "Waiting",
          key: (step) => figure(step)?.waiting,
          cell: (step) => figure(step)?.waiting ?? "–",
          number: true,
        },
        {
          title: "Oldest, s",
          key: (step) => figure(step)?.lag,
          cell: (step) => (figure(step)?.lag == null ? "–" : Math.round(figure(step)?.lag ?? 0)),
          number: true,
        },
        {
          title: "Refused",
          key: (step) => figure(step)?.refused,
          cell: (step) => figure(step)?.refused ?? "–",
          number: true,
        },
        { title: "Why", cell: (step) => states.get(step)?.reason },
      ]}
    />
  );
}
