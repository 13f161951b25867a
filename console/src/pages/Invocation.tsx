// One run of a trigger: where it stands and what it waits for, what it was given, what came of it, what its jobs wrote.

import { Button } from "@mantine/core";
import { Link, useParams } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { useAct } from "../api/act";
import { call, type Schemas } from "../api/client";
import { useRead } from "../api/queries";
import { announce } from "../live/announcing";
import { Age } from "../parts/Age";
import { Facts, Head, Read, Refusal, Section } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { useTenant } from "../parts/session";
import { coded, visible } from "../words/code";
import { clock, full } from "../words/times";
import { Explain } from "./Explain";
import { toldOf, whyOf } from "./runEvents";

type Run = Schemas["Invocation"];

const OPEN = new Set(["accepted", "dispatched", "waiting"]);
const LINES = 100;

export function Invocation() {
  const { id } = useParams({ strict: false }) as { id: string };
  const tenant = useTenant();
  const read = useRead("trigger_invocation_get", { invocation_id: id }, { every: 5_000 });
  const { act, busy, problem } = useAct();
  useEnd(read.data);
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
            state={<State word={run.state} />}
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
              ["Answer due", OPEN.has(run.state) && run.deadline ? <Age key="due" at={run.deadline} /> : null],
              [
                "Rerun of",
                run.rerun_of && (
                  <Link key="of" to="/invocations/$id" params={{ id: run.rerun_of }}>
                    <code>{run.rerun_of}</code>
                  </Link>
                ),
              ],
            ]}
          />
          <Section title="What happened">
            <ul className="timeline">
              {run.events.map((event) => (
                <li key={`${event.at} ${event.type}`}>
                  {event.at && (
                    <time dateTime={event.at} title={full(event.at)} className="mono">
                      {clock(event.at, true)}
                    </time>
                  )}{" "}
                  {toldOf(event)}
                </li>
              ))}
            </ul>
            {!OPEN.has(run.state) && run.state !== "succeeded" && <Why result={run.result} />}
          </Section>
          {OPEN.has(run.state) && (
            <Section title="What it waits for">
              <Explain kind="invocation" id={id} />
            </Section>
          )}
          <Section title="Parameters">
            <Json value={run.params} />
          </Section>
          <Answers run={run} />
          <Callbacks of={run.callbacks ?? []} to={run.callback} />
          {run.next?.some((step) => step.call === "log_search") && <Lines id={id} open={OPEN.has(run.state)} />}
        </>
      )}
    </Read>
  );
}

function Why({ result }: { result: Run["result"] }) {
  const { message, hint } = whyOf(result);
  if (!message && !hint) return null;
  return (
    <div className="note failed">
      {message && <p>{message}</p>}
      {hint && <p>{hint}</p>}
    </div>
  );
}

/** Say the end of a run that was under way when somebody looked at it. */
function useEnd(run: Run | undefined) {
  const before = useRef<string>(undefined);
  useEffect(() => {
    if (!run) return;
    if (before.current && OPEN.has(before.current) && !OPEN.has(run.state))
      announce(`The run of ${run.trigger_slug} has ended: ${run.state.replaceAll("_", " ")}`);
    before.current = run.state;
  }, [run]);
}

const Json = ({ value }: { value: unknown }) => (
  <pre className="text" tabIndex={0}>
    {coded(value, 2)}
  </pre>
);

/** What the job answered and what its request came back with stand for themselves; the rest is how it ended. */
function Answers({ run }: { run: Run }) {
  const { trigger_response: answer, trigger_proxy_response: proxied, ...rest } = run.result;
  return (
    <>
      <Section title="Result">
        {OPEN.has(run.state) && answer === undefined ? (
          <p className="quiet">It is not at its end yet.</p>
        ) : answer === undefined ? (
          <Json value={rest} />
        ) : (
          <>
            <p className="quiet">What the job answered; it is data.</p>
            <Json value={answer} />
          </>
        )}
      </Section>
      {proxied !== undefined && (
        <Section title="What its request came back with">
          <p className="quiet">
            Recorded <Age at={run.trigger_proxy_recorded_at} />
          </p>
          <Json value={proxied} />
        </Section>
      )}
    </>
  );
}

function Callbacks({ of, to }: { of: Schemas["CallbackDelivery"][]; to: string | null }) {
  if (!to) return null;
  return (
    <Section title="Callbacks">
      {of.length ? (
        <Rows
          label="Callbacks"
          rows={of}
          id={(row) => row.event_id}
          columns={[
            { title: "Outcome", cell: (row) => <State word={row.outcome} /> },
            { title: "Tells of", cell: (row) => <State word={row.state} /> },
            { title: "To", cell: (row) => <code>{row.receiver}</code> },
            { title: "Tries", cell: (row) => row.attempts, number: true },
            { title: "Next try", cell: (row) => <Age at={row.next_try_at} /> },
            {
              title: "Last try",
              cell: (row) => row.tries.at(-1)?.status ?? row.tries.at(-1)?.reason ?? "–",
            },
          ]}
        />
      ) : (
        <p className="quiet">
          Nothing was posted to <code>{to}</code> yet.
        </p>
      )}
    </Section>
  );
}

function Lines({ id, open }: { id: string; open: boolean }) {
  const read = useRead("log_search", { invocation: id, limit: LINES }, open ? { every: 3_000 } : {});
  return (
    <Section title="What its jobs wrote">
      <Read of={read}>
        {(found) =>
          found.items.length ? (
            <>
              <pre className="text" tabIndex={0} role="region" aria-label="Lines of this run">
                {found.items
                  .toReversed()
                  .map((line) => `${clock(line.at, true)} ${line.level} ${visible(line.text)}`)
                  .join("\n")}
              </pre>
              <Link to={`/logs?invocation=${id}`}>All of them in Logs</Link>
            </>
          ) : (
            <p className="quiet">No line is kept of this run.</p>
          )
        }
      </Read>
    </Section>
  );
}
