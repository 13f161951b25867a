// What an engine without a deployment begins with: the round trip, by one button that goes on to its plan.

import { Button } from "@mantine/core";
import { Link, useNavigate } from "@tanstack/react-router";
import { useAct } from "../api/act";
import { call } from "../api/client";
import { Empty, Refusal } from "../parts/Page";
import { useAdmin, useTenant } from "../parts/session";

const FIRST = { name: "hello", source: "workflow:quickstart-file-store-roundtrip", values: { path: "files" } };

export function FirstSteps() {
  const admin = useAdmin();
  const tenant = useTenant();
  const navigate = useNavigate();
  const { act, busy, problem } = useAct();
  const plan = () =>
    act(async () => {
      const made = await call("deployment_plan", FIRST, { tenant });
      await navigate({ to: "/plans/$id", params: { id: made.plan_id ?? "" } });
    });
  return (
    <>
      <Empty command="sluice plan hello --from workflow:quickstart-file-store-roundtrip --set path=files">
        A deployment is a workflow that runs; there is none yet. The round trip makes events, keeps them in files and
        reads them again: look at its plan, apply it, watch it. Or choose another one in{" "}
        <Link to="/catalog">the catalog</Link>.
      </Empty>
      {problem && <Refusal problem={problem} />}
      {admin && (
        <Button loading={busy} onClick={() => void plan()}>
          Deploy the round trip
        </Button>
      )}
    </>
  );
}
