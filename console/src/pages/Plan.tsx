// A plan: what would happen, in words and as a picture; then the one button that does just that, and how it goes.

import { Button } from "@mantine/core";
import { useParams } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import type { Schemas } from "../api/client";
import { useRead } from "../api/queries";
import { Graph } from "../graph/Graph";
import { actionsOf } from "../graph/plan";
import { Age } from "../parts/Age";
import { Findings } from "../parts/Findings";
import { Facts, Head, Read, Section } from "../parts/Page";
import { State } from "../parts/State";
import { count, counted } from "../words/numbers";
import { Apply } from "./PlanApply";
import { Change, Move } from "./planChanges";
import { itemOf } from "./planning";

type PlanShown = Schemas["SavedPlan"];

export function Plan() {
  const { id } = useParams({ strict: false }) as { id: string };
  const read = useRead("plan_get", { plan_id: id });
  return (
    <Read of={read}>
      {(plan: PlanShown) => (
        <>
          <Head
            title={
              <>
                {plan.asked.remove ? "Plan to remove" : "Plan for"} <code>{plan.name}</code>
              </>
            }
            state={plan.state !== "open" ? <State word={plan.state} /> : undefined}
          />
          <Facts
            items={[
              ["Plan", <code key="id">{plan.plan_id}</code>],
              ["Source", <code key="source">{plan.source}</code>],
              ["Way back to revision", plan.asked.to_revision],
              ["Made on revision", plan.base_revision],
              ["Made", <Age key="made" at={plan.created_at} />],
              ["By", plan.by],
              ["Applied as revision", plan.applied_as_revision],
              [
                plan.state === "expired" ? "Expired" : "Expires",
                (plan.state === "open" || plan.state === "expired") && <Age key="at" at={plan.expires_at} />,
              ],
            ]}
          />
          <Findings items={plan.blockers} tone="failed" title="Blocked" />
          <Findings items={plan.warnings} tone="warning" title="Warning" />
          <Summary plan={plan} />
          <Apply plan={plan} />
          {plan.values.length > 0 && (
            <Section title="Values">
              {plan.values.map((value) => (
                <Move key={value} text={value} />
              ))}
            </Section>
          )}
          <Changes plan={plan} />
          <Picture plan={plan} />
          {plan.stays.length > 0 && (
            <Section title="Stays behind">
              {plan.stays.map((one) => (
                <p key={`${one.job} ${one.where}`}>
                  {one.kind} of <code>{one.job}</code> at <code>{one.where}</code>
                  {one.bytes === null ? "" : `, ${count(one.bytes)} bytes`}
                </p>
              ))}
            </Section>
          )}
        </>
      )}
    </Read>
  );
}

function Summary({ plan }: { plan: PlanShown }) {
  const counts = Object.entries(plan.summary).filter(([, many]) => many > 0);
  return (
    <p>
      {counts.map(([action, many]) => (
        <span key={action} style={{ marginRight: 16 }}>
          <State word={action} /> {many}
        </span>
      ))}
      {!counts.length && "Nothing would change."}
    </p>
  );
}

function Changes({ plan }: { plan: PlanShown }) {
  const [only, setOnly] = useState("");
  const shown = plan.changes.filter((one) => !only || one.action === only);
  const actions = [...new Set(plan.changes.map((one) => one.action))];
  return (
    <Section title="Changes">
      {actions.length > 1 && (
        <div className="filters">
          {["", ...actions].map((one) => (
            <Button
              key={one}
              variant={one === only ? "light" : "subtle"}
              aria-pressed={one === only}
              onClick={() => setOnly(one)}
            >
              {one || "all"}
            </Button>
          ))}
        </div>
      )}
      {shown.map((one) => (
        <Change key={`${one.kind} ${one.id}`} change={one} />
      ))}
      {plan.changes_left_out > 0 && (
        <p className="quiet">{counted(plan.changes_left_out, "change")} more are not shown here.</p>
      )}
    </Section>
  );
}

function Picture({ plan }: { plan: PlanShown }) {
  const { kind, slug } = itemOf(plan.source);
  const version = plan.source.split("@")[1];
  const source = useRead("workflow_get", { slug, type: kind, version }, { enabled: kind !== "blueprint" });
  const graph = source.data?.graph;
  const actions = useMemo(() => actionsOf(plan.changes, plan.name), [plan.changes, plan.name]);
  if (!graph) return null;
  return (
    <Section title="Graph">
      <Graph graph={graph} label={`The steps of ${plan.name}, and what the plan does to each`} actions={actions} />
    </Section>
  );
}
