// One run of a trigger: where it stands, what it was given, what came of it.

import { Button } from "@mantine/core";
import { Link, useParams } from "@tanstack/react-router";
import { useAct } from "../api/act";
import { call } from "../api/client";
import { useRead } from "../api/queries";
import { Age } from "../parts/Age";
import { Facts, Head, Read, Refusal, Section } from "../parts/Page";
import { State } from "../parts/State";
import { useTenant } from "../parts/session";

const OPEN = new Set(["accepted", "dispatched", "waiting"]);

export function Invocation() {
  const { id } = useParams({ strict: false }) as { id: string };
  const tenant = useTenant();
  const read = useRead("trigger_invocation_get", { invocation_id: id }, { every: 5_000 });
  const { act, busy, problem } = useAct();
  const cancel = () =>
    act(async () => {
      await call("trigger_invocation_cancel", { invocation_id: id, reason: "canceled in the console" }, { tenant });
      await read.refetch();
    });
  return (
    <Read of={read}>
      {(run) => (
        <>
          <Head
            title={
              <>
                Run of{" "}
                <Link to="/triggers/$slug" params={{ slug: run.trigger_slug }}>
                  <code>{run.trigger_slug}</code>
                </Link>
              </>
            }
            state={
              <span role="status">
                <State word={run.state} />
              </span>
            }
            actions={
              OPEN.has(run.state) ? (
                <Button variant="default" loading={busy} onClick={() => void cancel()}>
                  Cancel this run
                </Button>
              ) : (
                <Button component={Link} to={`/triggers/${run.trigger_slug}?rerun=${run.invocation_id}`}>
                  Run again
                </Button>
              )
            }
          />
          {problem && <Refusal problem={problem} />}
          <Facts
            items={[
              ["Run", <code key="id">{run.invocation_id}</code>],
              ["Asked", <Age key="at" at={run.requested_at} />],
              ["By", `${run.caller?.username ?? "–"}`],
              ["Through", run.surface],
              ["Tries", run.attempts],
              ["Trigger revision", run.trigger_revision],
              ["Rerun of", run.rerun_of],
            ]}
          />
          <Section title="Parameters">
            <pre className="text" tabIndex={0}>
              {JSON.stringify(run.params, null, 2)}
            </pre>
          </Section>
          <Section title="Result">
            {OPEN.has(run.state) ? (
              <p className="quiet">It is not at its end yet.</p>
            ) : (
              <pre className="text" tabIndex={0}>
                {JSON.stringify(run.result, null, 2)}
              </pre>
            )}
          </Section>
        </>
      )}
    </Read>
  );
}
