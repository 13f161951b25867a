// One deployment: how it is and why, its live graph, what runs where, what was changed, and what can be done.

import { Button } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { useEffect, useMemo, useRef, useState } from "react";
import { useAct } from "../api/act";
import { call, type Schemas } from "../api/client";
import { useList, useRead } from "../api/queries";
import { Graph } from "../graph/Graph";
import { figuresOf, graphOf, type Sample, type StepFigures, sampleOf, statesOf, within } from "../graph/model";
import { Age } from "../parts/Age";
import { Facts, Head, Read, Refusal, Section } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { useAdmin, useTenant } from "../parts/session";
import { rate } from "../words/numbers";
import { Explain } from "./Explain";

type WorkloadRow = Schemas["DeployedWorkload"];

type Shown = Schemas["Deployment"];

const FIGURES_MS = 2000;
const WINDOW_MS = 20_000; // over which rates are told: a job that fires each ten seconds has one, too

/** The figures of each step, from the counters of its jobs as they move. */
function useFigures(workloads: WorkloadRow[]): Map<string, StepFigures> {
  const steps = useMemo(() => new Map(workloads.map((one) => [one.job, one.step ?? ""])), [workloads]);
  const metrics = useList("job_metrics", { limit: 200 }, { every: FIGURES_MS });
  const samples = useRef<Sample[]>([]);
  const [figures, setFigures] = useState<Map<string, StepFigures>>(new Map());
  useEffect(() => {
    if (!metrics.dataUpdatedAt || samples.current.at(-1)?.at === metrics.dataUpdatedAt) return;
    const sample = sampleOf(metrics.rows, steps, metrics.dataUpdatedAt);
    samples.current = within([...samples.current, sample], WINDOW_MS);
    const [oldest] = samples.current;
    setFigures(figuresOf(oldest === sample ? undefined : oldest, sample));
  }, [metrics.dataUpdatedAt, metrics.rows, steps]);
  return figures;
}

const TABS = ["graph", "workloads", "explain", "history", "values"] as const;
type Tab = (typeof TABS)[number];

export function Deployment() {
  const { name } = useParams({ strict: false }) as { name: string };
  const search = useSearch({ strict: false }) as { tab?: Tab; step?: string };
  const navigate = useNavigate();
  const read = useRead("deployment_get", { name }, { every: 5_000 });
  const tab = TABS.includes(search.tab as Tab) ? (search.tab as Tab) : "graph";
  const go = (more: { tab?: Tab; step?: string | undefined }) =>
    void navigate({
      to: "/deployments/$name",
      params: { name },
      search: { ...search, ...more } as never,
      replace: true,
    });
  return (
    <Read of={read}>
      {(data: Shown) => (
        <>
          <Head
            title={<code>{data.name}</code>}
            state={
              <>
                <State word={data.health} /> <Age at={data.since} />
              </>
            }
            actions={<Actions shown={data} />}
          />
          {data.reason && <p>{data.reason}</p>}
          <Facts
            items={[
              ["Revision", data.revision],
              [
                "Source",
                <Link key="source" to="/catalog/$kind/$slug" params={itemOf(data.source)}>
                  <code>{data.source}</code>
                </Link>,
              ],
              ["Workloads up", data.workloads_up],
              ["Worker group", data.worker_group],
              ["Reconcile", data.reconcile.mode],
              ["Applied", data.last_applied && <Age key="at" at={data.last_applied.at} />],
              ["By", data.last_applied?.by],
            ]}
          />
          {data.conditions.map((one) => (
            <div key={one.type} className="note warning">
              <p>
                <strong>{one.type}</strong> is {one.status}: {one.message || one.reason} <Age at={one.since} />
              </p>
            </div>
          ))}
          {data.drift.length > 0 && <Drift shown={data} />}
          <nav className="filters" aria-label="Parts of this deployment">
            {TABS.map((one) => (
              <Button
                key={one}
                variant={one === tab ? "light" : "subtle"}
                aria-pressed={one === tab}
                onClick={() => go({ tab: one })}
              >
                {one[0]?.toUpperCase() + one.slice(1)}
              </Button>
            ))}
          </nav>
          {tab === "graph" && <Live shown={data} step={search.step} choose={(step) => go({ step })} />}
          {tab === "workloads" && <Workloads rows={data.workloads} />}
          {tab === "explain" && <Explain kind="deployment" id={name} />}
          {tab === "history" && <History name={name} present={data.revision} />}
          {tab === "values" && (
            <Facts
              items={Object.entries({ ...data.defaults, ...data.values }).map(([key, value]) => [
                key,
                <code key={key}>{JSON.stringify(value)}</code>,
              ])}
            />
          )}
        </>
      )}
    </Read>
  );
}

export type ItemKind = "workflow" | "perspective" | "blueprint";

/** The parts of `workflow:slug@version`. */
export function itemOf(source: string): { kind: ItemKind; slug: string; version: string | undefined } {
  const [kind = "", rest = ""] = source.split(":");
  const [slug = "", version] = rest.split("@");
  return { kind: kind as ItemKind, slug, version };
}

function Live({ shown, step, choose }: { shown: Shown; step: string | undefined; choose: (step: string) => void }) {
  const { kind, slug } = itemOf(shown.source);
  const version = shown.source.split("@")[1];
  const source = useRead("workflow_get", { slug, type: kind, version }, { enabled: kind !== "blueprint" });
  const found = source.data?.graph;
  const graph = useMemo(() => graphOf(found, shown.workloads), [found, shown.workloads]);
  const states = useMemo(() => statesOf(shown.workloads), [shown.workloads]);
  const figures = useFigures(shown.workloads);
  const one = step ? figures.get(step) : undefined;
  return (
    <>
      <Graph
        graph={graph}
        label={`The steps of ${shown.name}`}
        states={states}
        figures={figures}
        chosen={step}
        choose={choose}
      />
      {step && states.has(step) && (
        <Section title={`Step ${step}`}>
          <Facts
            items={[
              ["In", rate(one?.in)],
              ["Out", rate(one?.out)],
              ["Refused", one?.refused],
              ["Errors", one?.errors],
              ["Behind", one?.lag == null ? "–" : `${Math.round(one.lag)} s`],
            ]}
          />
          <Workloads rows={shown.workloads.filter((row) => row.step === step)} />
        </Section>
      )}
    </>
  );
}

function Workloads({ rows }: { rows: WorkloadRow[] }) {
  return (
    <Rows
      label="Workloads"
      rows={rows}
      id={(row) => row.id}
      columns={[
        { title: "Health", cell: (row) => <State word={row.health ?? "unknown"} title={row.reason} /> },
        { title: "Job", cell: (row) => <code>{row.job}</code> },
        { title: "Replica", cell: (row) => row.replica, number: true },
        { title: "State", cell: (row) => <State word={row.state} /> },
        { title: "Worker", cell: (row) => row.worker ?? "–" },
        { title: "Restarts", cell: (row) => row.restarts, number: true },
        { title: "Since", cell: (row) => <Age at={row.since} /> },
        { title: "Why", cell: (row) => row.reason },
      ]}
    />
  );
}

function History({ name, present }: { name: string; present: number }) {
  const planning = usePlanning(name);
  const list = useList("deployment_history", { name, limit: 25 });
  return (
    <Read of={list}>
      {() => (
        <>
          {planning.problem && <Refusal problem={planning.problem} />}
          <Rows
            label="History"
            rows={list.rows}
            id={(row) => row.history_id}
            more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
            total={list.total}
            columns={[
              { title: "Revision", cell: (row) => row.revision, number: true },
              { title: "At", cell: (row) => <Age at={row.at} /> },
              { title: "What", cell: (row) => row.action },
              { title: "By", cell: (row) => `${row.by} (${row.surface})` },
              { title: "Source", cell: (row) => <code>{row.source}</code> },
              { title: "Values changed", cell: (row) => <code>{row.changed.join(", ") || row.reason}</code> },
              {
                title: "Back",
                cell: (row) =>
                  planning.may && row.revision < present ? (
                    <Button variant="subtle" onClick={() => void planning.plan({ to_revision: row.revision })}>
                      Plan the way back to {row.revision}
                    </Button>
                  ) : null,
              },
            ]}
          />
        </>
      )}
    </Read>
  );
}

function Drift({ shown }: { shown: Shown }) {
  return (
    <div className="note warning">
      <p>
        <strong>It differs from what was applied.</strong>
      </p>
      {shown.drift.slice(0, 5).map((one) => (
        <p key={`${one.kind} ${one.id}`}>
          <code>{one.id}</code> {one.kind}: expected {one.expected}, observed {one.observed}
        </p>
      ))}
      {shown.drift.length > 5 && <p>and {shown.drift.length - 5} more</p>}
    </div>
  );
}

/** Make a plan of what is deployed, and go to it. */
function usePlanning(name: string) {
  const may = useAdmin();
  const tenant = useTenant();
  const navigate = useNavigate();
  const { act, problem } = useAct();
  const plan = (wanted: { to_revision?: number; remove?: boolean }) =>
    act(async () => {
      const made = await call("deployment_plan", { name, ...wanted }, { tenant });
      await navigate({ to: "/plans/$id", params: { id: made.plan_id ?? "" } });
    });
  return { may, plan, problem };
}

function Actions({ shown }: { shown: Shown }) {
  const planning = usePlanning(shown.name);
  const admin = useAdmin();
  const tenant = useTenant();
  const client = useQueryClient();
  const navigate = useNavigate();
  const { act, busy, problem } = useAct();
  if (!admin) return null;
  const reconcile = () =>
    act(async () => {
      await call("deployment_reconcile", { name: shown.name }, { tenant });
      await client.invalidateQueries();
    });
  const { kind, slug } = itemOf(shown.source);
  return (
    <>
      {problem && <Refusal problem={problem} />}
      {shown.drift.length > 0 && (
        <Button variant="default" loading={busy} onClick={() => void reconcile()}>
          Reconcile
        </Button>
      )}
      {planning.problem && <Refusal problem={planning.problem} />}
      <Button variant="subtle" onClick={() => void planning.plan({ remove: true })}>
        Plan its removal
      </Button>
      <Button
        onClick={() =>
          void navigate({
            to: "/catalog/$kind/$slug/deploy",
            params: { kind, slug },
            search: { name: shown.name } as never,
          })
        }
      >
        Plan change
      </Button>
    </>
  );
}
