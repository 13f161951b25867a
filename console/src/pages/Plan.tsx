// A plan: what would happen, in words and as a picture; then the one button that does just that, and how it goes.

import { Button, Checkbox, NumberInput, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useMemo, useRef, useState } from "react";
import { useAct } from "../api/act";
import { call, type Schemas } from "../api/client";
import { useRead } from "../api/queries";
import { Graph } from "../graph/Graph";
import { actionsOf } from "../graph/plan";
import { announce } from "../live/announcing";
import { Age } from "../parts/Age";
import { Facts, Head, Read, Refusal, Section } from "../parts/Page";
import { State } from "../parts/State";
import { useAdmin, useTenant } from "../parts/session";
import { count, counted } from "../words/numbers";
import { Change, Move } from "./planChanges";
import { itemOf } from "./planning";

type Told = Schemas["Finding"];

type PlanShown = Schemas["SavedPlan"];

type Done = Schemas["Applied"];

const textOf = (told: Told | string): string => (typeof told === "string" ? told : told.message);

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
                Plan for <code>{plan.name}</code>
              </>
            }
            state={plan.state !== "open" ? <State word={plan.state} /> : undefined}
          />
          <Facts
            items={[
              ["Plan", <code key="id">{plan.plan_id}</code>],
              ["Source", <code key="source">{plan.source}</code>],
              ["Made on revision", plan.base_revision],
              ["Valid until", <Age key="at" at={plan.expires_at} />],
            ]}
          />
          <Told items={plan.blockers} tone="failed" title="Blocked" />
          <Told items={plan.warnings} tone="warning" title="Warnings" />
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

function Told({ items, tone, title }: { items: (Told | string)[]; tone: string; title: string }) {
  return items.map((one) => (
    <div key={textOf(one)} className={`note ${tone}`}>
      <p>
        <strong>{title}:</strong> {textOf(one)}
      </p>
    </div>
  ));
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

const WHY: Record<string, string> = {
  stale: "has moved since this plan was made, so what it says is not what would happen.",
  applied: "was brought to this plan; a plan is applied once.",
  expired: "may be another by now: this plan is too old.",
  discarded: "is as it was: this plan was withdrawn.",
};

function Over({ plan }: { plan: PlanShown }) {
  const { kind, slug } = itemOf(plan.source);
  return (
    <div className="note">
      <p>
        <Link to="/deployments/$name" params={{ name: plan.name }}>
          <code>{plan.name}</code>
        </Link>{" "}
        {WHY[plan.state ?? ""]}
      </p>
      {plan.state !== "applied" && (
        <Button component={Link} to={`/catalog/${kind}/${slug}/deploy?name=${plan.name}`} mt="xs">
          Plan again
        </Button>
      )}
    </div>
  );
}

function Apply({ plan }: { plan: PlanShown }) {
  const admin = useAdmin();
  const tenant = useTenant();
  const client = useQueryClient();
  const { act, busy, problem } = useAct();
  const [typed, setTyped] = useState("");
  const [seconds, setSeconds] = useState<number | string>(10);
  const [back, setBack] = useState(false);
  const [done, setDone] = useState<Done | null>(null);
  const key = useRef(crypto.randomUUID());
  const removals = plan.changes.filter((one) => one.action === "remove");
  const over = plan.state !== "open";

  const apply = () =>
    act(async () => {
      const wanted = {
        plan_id: plan.plan_id ?? "",
        wait_seconds: 60,
        health_seconds: Number(seconds),
        rollback_on_failure: back,
      };
      const came = await call("deployment_apply", wanted, { tenant, key: key.current });
      setDone(came);
      announce(`The apply of ${plan.name} has ended: revision ${came.revision} is ${came.state}`);
    }).finally(() => client.invalidateQueries());

  if (done)
    return (
      <div className="note" role="status">
        <p>
          Revision {done.revision}: <State word={done.state} />{" "}
          <Link to="/deployments/$name" params={{ name: plan.name }}>
            Watch <code>{plan.name}</code>
          </Link>
        </p>
      </div>
    );
  if (!admin) return <p className="quiet">Applying is for admins; you are signed in as a user.</p>;
  if (over)
    return (
      <>
        {problem && <Refusal problem={problem} />}
        <Over plan={plan} />
      </>
    );
  if (plan.blockers.length > 0) return null;
  return (
    <div className="note">
      {problem && <Refusal problem={problem} />}
      {removals.length > 0 && (
        <>
          <p>
            This removes {removals.map((one) => one.id).join(", ")}. Type <code>{plan.name}</code> to allow that.
          </p>
          <TextInput
            aria-label="Name of the deployment"
            value={typed}
            onChange={(event) => setTyped(event.currentTarget.value)}
            w={280}
          />
        </>
      )}
      <div className="filters" style={{ margin: 0 }}>
        <Button onClick={() => void apply()} loading={busy} disabled={removals.length > 0 && typed !== plan.name}>
          Apply {plan.name}
        </Button>
        <NumberInput
          aria-label="Seconds that it has to stay healthy"
          value={seconds}
          onChange={setSeconds}
          min={1}
          max={600}
          w={90}
          suffix=" s"
        />
        <span className="quiet">healthy in a row, and</span>
        <Checkbox
          label="roll back on failure"
          checked={back}
          onChange={(event) => setBack(event.currentTarget.checked)}
        />
      </div>
    </div>
  );
}
