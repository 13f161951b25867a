// Publish a trigger, or revise one: a form or JSON, what differs from the present revision, and whether its job is up.

import { Button, SegmentedControl, Textarea } from "@mantine/core";
import { Link, useParams } from "@tanstack/react-router";
import { useRef, useState } from "react";
import { useAct } from "../api/act";
import { call, Problem, type Result, type Schemas } from "../api/client";
import { useRead } from "../api/queries";
import { Findings } from "../parts/Findings";
import { ForAdmins, Head, Read, Refusal, Section } from "../parts/Page";
import { State } from "../parts/State";
import { useTenant } from "../parts/session";
import { coded } from "../words/code";
import { Fields } from "./TriggerFields";
import { type Definition, differences, EMPTY, faultsOf, objectOf } from "./triggerForm";

type Done = Schemas["TriggerPublished"];

export function NewTrigger() {
  return (
    <ForAdmins what="Publishing a trigger">
      <Form first={EMPTY} />
    </ForAdmins>
  );
}

export function ReviseTrigger() {
  const { slug } = useParams({ strict: false }) as { slug: string };
  const tenant = useTenant();
  const read = useRead("trigger_get", { slug, tenant_id: tenant });
  return (
    <ForAdmins what="Revising a trigger">
      <Read of={read}>
        {(trigger) => (
          <Form
            key={trigger.slug} // not its revision: what is typed, and what came of it, stay when there is a new one
            first={trigger.definition as Definition}
            present={trigger.definition as Definition}
            revision={trigger.revision}
          />
        )}
      </Read>
    </ForAdmins>
  );
}

interface Given {
  first: Definition;
  present?: Definition;
  revision?: number;
}

function Form({ first, present, revision }: Given) {
  const tenant = useTenant();
  const [wanted, setWanted] = useState<Definition>(first);
  const [text, setText] = useState<string | null>(null);
  const [done, setDone] = useState<Done | null>(null);
  const [broken, setBroken] = useState<Record<string, string>>({}); // fields that hold no JSON, by their labels
  const [begun] = useState(revision);
  const { act, busy, problem, setProblem, changed } = useAct({ once: true });
  const key = useRef(crypto.randomUUID()); // one revision, however often the button is pressed before an answer
  const faults = faultsOf(problem?.fault.errors ?? []);
  const unread = text === null ? Object.entries(broken).filter(([, wrong]) => wrong) : [];
  const set = (more: Partial<Definition>) => {
    setWanted({ ...wanted, ...more });
    changed(Object.keys(more));
  };

  const publish = (definition: Definition) =>
    act(
      async () => {
        const name = present ? "trigger_revise" : "trigger_publish";
        setDone(await call(name, definition, { tenant, key: key.current }));
        key.current = crypto.randomUUID();
      },
      ({ code }) => {
        if (code !== "unreachable") key.current = crypto.randomUUID();
      },
    );

  const refuse = (detail: string) =>
    setProblem(new Problem({ code: "invalid_json", status: 0, detail, hint: "", errors: [] }));

  function fromText(): Definition | null {
    try {
      return objectOf(text ?? "") as Definition;
    } catch (error) {
      refuse(`The trigger is no JSON object: ${(error as Error).message}`);
      return null;
    }
  }

  /** What the fields say; nothing while one of them says nothing that can be read. */
  function fromFields(): Definition | null {
    const [first] = unread;
    if (!first) return wanted;
    refuse(`${first[0]} is no JSON object: ${first[1]}`);
    return null;
  }

  if (done) return <Published done={done} />;
  const title = present ? (
    <>
      Revise <code>{present.slug}</code>
    </>
  ) : (
    "New trigger"
  );
  const verb = present ? `Publish revision ${(revision ?? 0) + 1}` : "Publish this trigger";
  const now = text === null ? wanted : null;
  return (
    <>
      <Head title={title} />
      <SegmentedControl
        aria-label="View"
        data={["Form", "JSON"]}
        value={text === null ? "Form" : "JSON"}
        onChange={(view) => {
          if (view === "JSON") {
            const said = fromFields();
            if (said) setText(JSON.stringify(said, null, 2));
            return;
          }
          const parsed = fromText();
          if (!parsed) return;
          setWanted(parsed);
          setText(null);
        }}
      />
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          const definition = text === null ? fromFields() : fromText();
          if (definition) void publish(definition);
        }}
      >
        {text === null ? (
          <Fields
            wanted={wanted}
            set={set}
            faults={faults}
            broken={(label, wrong) => {
              setBroken((was) => ({ ...was, [label]: wrong }));
              if (!wrong) changed([]);
            }}
            fixed={!!present}
          />
        ) : (
          <Textarea
            aria-label="The trigger as JSON"
            autosize
            minRows={12}
            maxRows={32}
            value={text}
            onChange={(event) => {
              setText(event.currentTarget.value);
              changed();
            }}
            styles={{ input: { fontFamily: "var(--mono)" } }}
          />
        )}
        {present && now && <Changes old={present} now={now} unread={unread.map(([label]) => label)} />}
        {revision !== begun && (
          <div className="note warning">
            Revision {revision} was published since this form was opened; what differs is told against it.
          </div>
        )}
        {problem && <Refusal problem={problem} />}
        <div className="filters" style={{ marginTop: 12 }}>
          <Button type="submit" loading={busy}>
            {verb}
          </Button>
          <Button variant="subtle" component={Link} to={present ? `/triggers/${present.slug}` : "/triggers"}>
            Cancel
          </Button>
        </div>
      </form>
    </>
  );
}

function Changes({ old, now, unread }: { old: Definition; now: Definition; unread: string[] }) {
  const found = differences(old, now);
  return (
    <Section title="What differs from the present revision">
      {!found.length && !unread.length && <p className="quiet">Nothing yet.</p>}
      {unread.map((label) => (
        <p key={label} className="state failed">
          {label} is no JSON object yet.
        </p>
      ))}
      <Differences items={found} />
    </Section>
  );
}

export function Differences({ items }: { items: { path: string; old?: unknown; new?: unknown }[] }) {
  return items.map((one) => (
    <div key={one.path} className="mono">
      {one.path}: {one.old === undefined ? "–" : <span className="before">{coded(one.old)}</span>} →{" "}
      {one.new === undefined ? "–" : <span className="after">{coded(one.new)}</span>}
    </div>
  ));
}

function Published({ done }: { done: Done }) {
  const tenant = useTenant();
  const { act, busy, problem } = useAct();
  const [deployed, setDeployed] = useState<Result<"job_deploy">>();
  const deploy = (name: string) => act(async () => setDeployed(await call("job_deploy", { name }, { tenant })));
  return (
    <>
      <Head
        title={
          <>
            <code>{done.slug}</code> is published
          </>
        }
        state={<State word={done.active ? "active" : "stopped"} />}
        actions={
          <Button component={Link} to={`/triggers/${done.slug}`}>
            Go to the trigger
          </Button>
        }
      />
      <p role="status">
        Revision {done.revision}
        {done.tool_name && (
          <>
            , the MCP tool <code>{done.tool_name}</code>
          </>
        )}
        .
      </p>
      {problem && <Refusal problem={problem} />}
      <Findings items={deployed?.warnings ?? []} tone="warning" title="Closed" />
      {done.warnings.map((one) => (
        <div key={one.code} className="note warning">
          <p>{one.message}</p>
          {one.mend.map((step) => (
            <p key={step.call + step.why}>
              {step.why} <code>{step.command ?? `${step.call} ${coded(step.arguments)}`}</code>{" "}
              {step.call === "job_deploy" && typeof step.arguments.name === "string" && (
                <Button
                  variant="light"
                  loading={busy}
                  disabled={deployed?.name === step.arguments.name}
                  onClick={() => void deploy(String(step.arguments.name))}
                >
                  Deploy {step.arguments.name}
                </Button>
              )}
            </p>
          ))}
        </div>
      ))}
    </>
  );
}
