// One deployment: how it is and why, its live graph, what runs where, what was changed, and what can be done.

import { Button } from "@mantine/core";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import type { Schemas } from "../api/client";
import { useRead } from "../api/queries";
import { Age } from "../parts/Age";
import { Facts, Head, Read, Refusal } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { useAdmin, useOperator } from "../parts/session";
import { Tabs } from "../parts/Tabs";
import { coded } from "../words/code";
import { counted } from "../words/numbers";
import { Drift, History, Placement, Reconcile } from "./DeploymentTabs";
import { Explain } from "./Explain";
import { type Chosen, LiveGraph } from "./LiveGraph";
import { itemOf, usePlanning } from "./planning";
import { workloadColumns } from "./workloadColumns";

type WorkloadRow = Schemas["DeployedWorkload"];

type Shown = Schemas["Deployment"];

const TABS = ["graph", "workloads", "explain", "history", "values", "drift", "placement"] as const;
type Tab = (typeof TABS)[number];

export function Deployment() {
  const { name } = useParams({ strict: false }) as { name: string };
  const search = useSearch({ strict: false }) as Chosen & { tab?: Tab };
  const navigate = useNavigate();
  const read = useRead("deployment_get", { name }, { every: 5_000 });
  const tab = TABS.includes(search.tab as Tab) ? (search.tab as Tab) : "graph";
  const go = (more: Chosen & { tab?: Tab }) =>
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
                <State word={removed(data) ? data.state : data.health} /> <Age at={data.since} />
              </>
            }
            actions={<Actions shown={data} />}
          />
          {removed(data) && <Removed shown={data} />}
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
          {data.drift.length > 0 && <Drifted shown={data} look={() => go({ tab: "drift" })} />}
          <Tabs
            label="Parts of this deployment"
            of={[...TABS.map((one) => [one, one[0]?.toUpperCase() + one.slice(1)] as const), ["logs", "Logs"]]}
            now={tab}
            at={(one) =>
              one === "logs"
                ? { to: "/logs", search: { of: data.name } }
                : { to: "/deployments/$name", params: { name }, search: { ...search, tab: one } }
            }
          />
          {tab === "graph" && <LiveGraph shown={data} chosen={search} choose={go} />}
          {tab === "workloads" && <Workloads rows={data.workloads} />}
          {tab === "explain" && <Explain kind="deployment" id={name} />}
          {tab === "history" && <History name={name} present={data.revision} />}
          {tab === "drift" && <Drift shown={data} />}
          {tab === "placement" && <Placement name={name} />}
          {tab === "values" && (
            <Facts
              items={Object.entries({ ...data.defaults, ...data.values }).map(([key, value]) => [
                key,
                <code key={key}>{coded(value)}</code>,
              ])}
            />
          )}
        </>
      )}
    </Read>
  );
}

function Workloads({ rows }: { rows: WorkloadRow[] }) {
  return (
    <>
      <p className="quiet">Its jobs are managed: a plan of the deployment changes them, nobody edits them by hand.</p>
      <Rows
        label="Workloads"
        rows={rows}
        id={(row) => row.id}
        columns={workloadColumns("health", "job", "replica", "state", "worker", "restarts", "since", "logs", "why")}
      />
    </>
  );
}

/** That it differs, and where that is told. */
function Drifted({ shown, look }: { shown: Shown; look: () => void }) {
  return (
    <div className="note warning">
      <p>
        <strong>It differs from what was applied</strong> in {counted(shown.drift.length, "place")}.{" "}
        <Button variant="subtle" onClick={look}>
          Look at the drift
        </Button>
      </p>
    </div>
  );
}

const removed = (shown: Shown): boolean => shown.state === "removed" || shown.state === "removing";

/** That it is gone, since when and by whom, and the way back. */
function Removed({ shown }: { shown: Shown }) {
  const planning = usePlanning(shown.name);
  const last = shown.last_applied;
  const back = last && last.action === "remove" ? last.revision - 1 : 0;
  return (
    <div className="note">
      <p>
        {shown.state === "removing" ? "It is being removed" : "It was removed"}
        {last && (
          <>
            {" "}
            <Age at={last.at} /> by {last.by}
          </>
        )}
        : nothing of it {shown.state === "removing" ? "will run" : "runs"}. Its history is kept.
      </p>
      {planning.problem && <Refusal problem={planning.problem} />}
      {planning.may && back > 0 && (
        <Button mt="xs" variant="default" onClick={() => void planning.plan({ to_revision: back })}>
          Plan the way back to revision {back}
        </Button>
      )}
    </div>
  );
}

function Actions({ shown }: { shown: Shown }) {
  const planning = usePlanning(shown.name);
  const [admin, operator] = [useAdmin(), useOperator()];
  const navigate = useNavigate();
  const [asking, setAsking] = useState(false);
  if (!operator) return null;
  const { kind, slug } = itemOf(shown.source);
  return (
    <>
      {shown.drift.length > 0 && !removed(shown) && (
        <Button variant="default" onClick={() => setAsking(true)}>
          Reconcile
        </Button>
      )}
      {asking && <Reconcile name={shown.name} close={() => setAsking(false)} />}
      {planning.problem && <Refusal problem={planning.problem} />}
      {admin && !removed(shown) && (
        <Button variant="subtle" onClick={() => void planning.plan({ remove: true })}>
          Plan its removal
        </Button>
      )}
      {admin && (
        <Button
          onClick={() =>
            void navigate({
              to: "/catalog/$kind/$slug/deploy",
              params: { kind, slug },
              search: { name: shown.name } as never,
            })
          }
        >
          {removed(shown) ? "Deploy it again" : "Plan change"}
        </Button>
      )}
    </>
  );
}
