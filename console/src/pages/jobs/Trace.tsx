// Run & Trace: some events go through the document as it stands, action by action; nothing is sent or stored.

import { Button, NumberInput, SegmentedControl } from "@mantine/core";
import { useMemo, useState } from "react";
import { useAct } from "../../api/act";
import { type Args, call, type Schemas } from "../../api/client";
import { Code } from "../../editor/Code";
import { Refusal, Section } from "../../parts/Page";
import { useTenant } from "../../parts/session";
import { coded, visible } from "../../words/code";
import { parsed } from "../../words/json";
import { counted } from "../../words/numbers";
import { differencesOf, echoes } from "./text";

type Traced = Schemas["Trace"];
type Step = Schemas["TraceStep"];
type From = "events" | "input" | "sample";

const SHOWN = 20; // events of a step; the counts tell how many there are

/** The events that were typed: one, or a list of them. Raises Problem. */
export function eventsOf(text: string): Record<string, unknown>[] {
  const value = parsed(text, "The events") as Record<string, unknown> | Record<string, unknown>[];
  return Array.isArray(value) ? value : [value];
}

export function RunAndTrace({ document }: { document: string }) {
  const tenant = useTenant();
  const echo = useMemo(() => echoes(document), [document]);
  const [chosen, choose] = useState<From | null>(null);
  const from = (chosen === "input" && !echo) || !chosen ? (echo ? "input" : "events") : chosen;
  const [events, setEvents] = useState('[\n  {"say": "hello"}\n]');
  const [message, setMessage] = useState("");
  const [sample, setSample] = useState<string | number>(5);
  const [traced, setTraced] = useState<{ of: string; result: Traced } | null>(null);
  const { act, busy, problem } = useAct();
  const run = () =>
    act(async () => {
      const given: Args<"job_trace"> = { document };
      if (from === "events") given.events = eventsOf(events);
      if (from === "sample") given.sample = Number(sample);
      if (message.trim()) given.message = parsed(message, "The message") as Record<string, unknown>;
      setTraced({ of: document, result: await call("job_trace", given, { tenant }) });
    });
  return (
    <Section title="Run & Trace">
      <p className="quiet">Some events go through the text above, action by action. Nothing is sent or stored.</p>
      <div className="filters">
        <SegmentedControl
          aria-label="Events"
          data={[
            ...(echo ? [{ value: "input", label: "What echo makes" }] : []),
            { value: "events", label: "My own" },
            { value: "sample", label: "A sample" },
          ]}
          value={from}
          onChange={(value) => choose(value as From)}
        />
        {from === "sample" && (
          <NumberInput aria-label="Events of the sample" min={1} max={100} w={80} value={sample} onChange={setSample} />
        )}
        <Button variant="light" loading={busy} onClick={() => void run()}>
          Run and trace
        </Button>
      </div>
      {from === "sample" && <p className="quiet">So many events are read from the real input and not acknowledged.</p>}
      {from === "events" && (
        <Code label="Events as JSON" language="json" value={events} change={setEvents} maxHeight="200px" />
      )}
      <details className="more">
        <summary>With a message, for $&#123;msg|…&#125;</summary>
        <Code label="Message as JSON" language="json" value={message} change={setMessage} maxHeight="200px" />
      </details>
      {problem && <Refusal problem={problem} />}
      {traced && <Result traced={traced.result} stale={traced.of !== document} />}
    </Section>
  );
}

function Result({ traced, stale }: { traced: Traced; stale: boolean }) {
  const { counts } = traced;
  return (
    <div aria-live="polite">
      <p>
        <strong>
          {counted(counts.events_in ?? traced.events_in.length, "event")} in,{" "}
          {counts.events_out ?? traced.events_out.length} out,{" "}
          {counted(counts.would_emit ?? traced.would_emit.length, "sending")} left undone
          {traced.errors.length > 0 && `, ${counted(counts.errors ?? traced.errors.length, "fault")}`}
        </strong>{" "}
        {stale && <span className="quiet">of the text before you changed it</span>}
      </p>
      {traced.aborted && <div className="note failed">The job would end here: {traced.aborted}</div>}
      {traced.input_warnings.map((text) => (
        <div key={text} className="note warning">
          {text}
        </div>
      ))}
      {traced.errors.map((one) => (
        <div key={`${one.step}/${one.event}/${one.message}`} className="note failed">
          <code>{typeof one.step === "number" ? `action ${one.step + 1}` : one.step}</code>
          {one.event !== null && `, event ${one.event + 1}`}: {one.message}
        </div>
      ))}
      {traced.truncated && traced.truncated.length > 0 && (
        <p className="quiet">Cut, for there is too much of it: {traced.truncated.join(", ")}.</p>
      )}
      <Stage title="Input" said={`${traced.events_in.length} out`}>
        <Events rows={traced.events_in.map((event) => ({ after: event }))} />
      </Stage>
      {traced.steps.map((step) => (
        <Action key={step.index} step={step} />
      ))}
      {traced.would_emit.length > 0 && (
        <Stage title="Output" said={`${counted(traced.would_emit.length, "sending")} left undone`} open>
          <Events rows={traced.would_emit.map((event) => ({ after: event }))} />
        </Stage>
      )}
    </div>
  );
}

interface Staged {
  title: string;
  said: string;
  open?: boolean;
  children: React.ReactNode;
}

function Stage({ title, said, open = false, children }: Staged) {
  return (
    <details className="change" open={open}>
      <summary>
        <code>{title}</code> <span className="quiet">{said}</span>
      </summary>
      {children}
    </details>
  );
}

function Action({ step }: { step: Step }) {
  const same = step.before.length === step.after.length && step.dropped === 0;
  const most = Math.max(step.before.length, step.after.length);
  const rows = Array.from({ length: most }, (_, place) => ({
    ...(place < step.before.length ? { before: step.before[place] } : {}),
    ...(place < step.after.length ? { after: step.after[place] } : {}),
  }));
  const moved = !same || rows.some(({ before, after }) => differencesOf(before, after).length > 0);
  const said = [
    `${step.events_in} in, ${step.events_out} out`,
    ...(step.dropped ? [`${step.dropped} dropped`] : []),
    ...(moved ? [] : ["nothing changed"]),
    ...(step.description ? [step.description] : []),
  ];
  return (
    <Stage title={`${step.index + 1} ${step.action}`} said={said.join("; ")} open={moved || step.warnings.length > 0}>
      {step.warnings.map((text) => (
        <div key={text} className="note warning">
          {text}
        </div>
      ))}
      <Events rows={rows} compared={same} label={`Events of action ${step.index + 1}`} />
    </Stage>
  );
}

interface Row {
  before?: unknown;
  after?: unknown;
}

function Events({ rows, compared = false, label = "Events" }: { rows: Row[]; compared?: boolean; label?: string }) {
  const before = rows.some((row) => "before" in row);
  if (!rows.length) return <p className="quiet">No event.</p>;
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={label}>
      <table className="rows events">
        <thead>
          <tr>
            <th scope="col" className="number">
              No.
            </th>
            {before && <th scope="col">Before</th>}
            <th scope="col">{before ? "After" : "Event"}</th>
            {compared && <th scope="col">What changed</th>}
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, SHOWN).map((row, place) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: an event has no name but its place
            <tr key={place}>
              <td className="number">{place + 1}</td>
              {before && (
                <td>
                  <code>{"before" in row ? coded(row.before) : "–"}</code>
                </td>
              )}
              <td>
                <code>{"after" in row ? coded(row.after) : "–"}</code>
              </td>
              {compared && (
                <td>
                  {differencesOf(row.before, row.after).map(({ path, before, after }) => (
                    <div key={path}>
                      <code>{visible(path)}:</code>{" "}
                      {before !== undefined && <code className="before">{visible(before)}</code>}
                      {before !== undefined && after !== undefined && " → "}
                      {after !== undefined ? <code className="after">{visible(after)}</code> : " removed"}
                    </div>
                  ))}
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > SHOWN && <p className="quiet">The first {SHOWN} are shown.</p>}
    </div>
  );
}
