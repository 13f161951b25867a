// What can be done with a plan: applied once, and how that went; or planned again with what it was made for.

import { Button, Checkbox, NumberInput, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useRef, useState } from "react";
import { useAct } from "../api/act";
import { call, type Schemas } from "../api/client";
import { announce } from "../live/announcing";
import { AsWhom, Refusal } from "../parts/Page";
import { State } from "../parts/State";
import { useAdmin, useTenant } from "../parts/session";
import { counted } from "../words/numbers";
import { formOf, usePlanning } from "./planning";

type PlanShown = Schemas["SavedPlan"];

type Done = Schemas["Applied"];

const WHY: Record<string, string> = {
  stale: "has moved since this plan was made, so what it says is not what would happen.",
  applied: "was brought to this plan; a plan is applied once.",
  expired: "may be another by now: this plan is too old.",
  discarded: "is as it was: this plan was discarded.",
};

/** To the form with what the plan was made for; a removal and a way back have no form, and are planned at once. */
function Again({ plan, children }: { plan: PlanShown; children: string }) {
  const { may, plan: make, problem } = usePlanning(plan.name);
  const { remove, to_revision } = plan.asked;
  if (!may) return null;
  if (remove || to_revision !== null)
    return (
      <>
        {problem && <Refusal problem={problem} />}
        <Button
          mt="xs"
          variant="default"
          onClick={() => void make(remove ? { remove } : { to_revision: to_revision ?? 0 })}
        >
          Plan again
        </Button>
      </>
    );
  return (
    <Button component={Link} to={formOf(plan)} mt="xs" variant="default">
      {children}
    </Button>
  );
}

function Over({ plan }: { plan: PlanShown }) {
  return (
    <div className="note">
      <p>
        <Link to="/deployments/$name" params={{ name: plan.name }}>
          <code>{plan.name}</code>
        </Link>{" "}
        {WHY[plan.state ?? ""]}
      </p>
      {plan.state !== "applied" && <Again plan={plan}>Plan again</Again>}
    </div>
  );
}

/** What came of an apply, as the health gate judged it. */
export function outcomeOf(done: Done, seconds: number): string {
  if (done.state === "removed") return "It is removed: nothing of it runs. Its history is kept.";
  if (done.state === "removing") return "It is being removed; not everything has stopped yet.";
  if (done.rolled_back)
    return `It did not stay healthy for ${seconds} s and was rolled back; revision ${done.revision} is what there was before.`;
  if (done.came_up === null) return "Whether it stays healthy is not known yet.";
  return done.came_up
    ? `What this plan touches came up and stayed healthy for ${seconds} s.`
    : `Not all that this plan touches came up and stayed healthy for ${seconds} s; nothing was rolled back.`;
}

const toneOf = (done: Done): string => (done.rolled_back || done.came_up === false ? "note failed" : "note");

function Outcome({ done, seconds }: { done: Done; seconds: number }) {
  return (
    <div className={toneOf(done)} role="status">
      <p>
        Revision {done.revision}: <State word={done.state} /> {outcomeOf(done, seconds)}
      </p>
      {done.reason && <p>{done.reason}</p>}
      {done.unwell_before.length > 0 && (
        <p>{counted(done.unwell_before.length, "workload")} did not run before either, and was left as it was.</p>
      )}
      <p>
        <Link to="/deployments/$name" params={{ name: done.deployment }}>
          {done.state.startsWith("remov") ? "Look at" : "Watch"} <code>{done.deployment}</code>
        </Link>
      </p>
    </div>
  );
}

export function Apply({ plan }: { plan: PlanShown }) {
  const admin = useAdmin();
  const tenant = useTenant();
  const client = useQueryClient();
  const { act, busy, problem } = useAct();
  const [typed, setTyped] = useState("");
  const [seconds, setSeconds] = useState<number | string>(10);
  const [back, setBack] = useState(false);
  const [done, setDone] = useState<Done | null>(null);
  const key = useRef(crypto.randomUUID());
  const { remove } = plan.asked;
  const removals = [...new Set(plan.changes.filter((one) => one.action === "remove").map((one) => one.id))];
  const over = plan.state !== "open";

  const apply = () =>
    act(async () => {
      const wanted = {
        plan_id: plan.plan_id ?? "",
        wait_seconds: 60,
        ...(remove ? {} : { health_seconds: Number(seconds), rollback_on_failure: back }),
      };
      const came = await call("deployment_apply", wanted, { tenant, key: key.current });
      setDone(came);
      announce(`The apply of ${plan.name} has ended: ${outcomeOf(came, Number(seconds))}`);
    }).finally(() => client.invalidateQueries());

  if (done) return <Outcome done={done} seconds={Number(seconds)} />;
  if (!admin)
    return (
      <p className="quiet">
        Applying is for admins
        <AsWhom />
      </p>
    );
  if (over)
    return (
      <>
        {problem && <Refusal problem={problem} />}
        <Over plan={plan} />
      </>
    );
  if (plan.blockers.length > 0)
    return (
      <div className="note">
        <p>What blocks it has to be mended before it can be applied.</p>
        <Again plan={plan}>Change these values</Again>
      </div>
    );
  return (
    <div className="note">
      {problem && <Refusal problem={problem} />}
      {removals.length > 0 && (
        <>
          <p>
            This removes {removals.join(", ")}. Type <code>{plan.name}</code> to allow that.
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
          {remove ? "Remove" : "Apply"} {plan.name}
        </Button>
        {!remove && (
          <>
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
          </>
        )}
      </div>
    </div>
  );
}
