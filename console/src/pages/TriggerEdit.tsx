// Publish a trigger, or revise one: a form or JSON, what differs from the present revision, and whether its job is up.

import { Button, Checkbox, NumberInput, Select, Textarea, TextInput } from "@mantine/core";
import { Link, useParams } from "@tanstack/react-router";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { useAct } from "../api/act";
import { call, Problem, type Schemas } from "../api/client";
import { useList, useRead } from "../api/queries";
import { ForAdmins, Head, Read, Refusal, Section } from "../parts/Page";
import { State, toneOf } from "../parts/State";
import { useTenant } from "../parts/session";
import { type Definition, differences, EMPTY, faultsOf } from "./triggerForm";

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
            key={trigger.revision}
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
  const { act, busy, problem, setProblem } = useAct();
  const key = useRef(crypto.randomUUID()); // one revision, however often the button is pressed before an answer
  const faults = faultsOf(problem?.fault.errors ?? []);
  const set = (more: Partial<Definition>) => setWanted({ ...wanted, ...more });

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

  function fromText(): Definition | null {
    try {
      return JSON.parse(text ?? "");
    } catch (error) {
      const detail = `The trigger is no JSON object: ${(error as Error).message}`;
      setProblem(new Problem({ code: "invalid_params", status: 0, detail, hint: "", errors: [] }));
      return null;
    }
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
      <div className="filters" role="group" aria-label="View">
        <Button
          variant={text === null ? "light" : "subtle"}
          aria-pressed={text === null}
          onClick={() => {
            const parsed = text === null ? null : fromText();
            if (!parsed) return;
            setWanted(parsed);
            setText(null);
          }}
        >
          Form
        </Button>
        <Button
          variant={text === null ? "subtle" : "light"}
          aria-pressed={text !== null}
          onClick={() => text === null && setText(JSON.stringify(wanted, null, 2))}
        >
          JSON
        </Button>
      </div>
      {problem && <Refusal problem={problem} />}
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          const definition = text === null ? wanted : fromText();
          if (definition) void publish(definition);
        }}
      >
        {text === null ? (
          <Fields wanted={wanted} set={set} faults={faults} fixed={!!present} />
        ) : (
          <Textarea
            aria-label="The trigger as JSON"
            autosize
            minRows={12}
            maxRows={32}
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
            styles={{ input: { fontFamily: "var(--mono)" } }}
          />
        )}
        {present && now && <Changes old={present} now={now} />}
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

interface FieldsGiven {
  wanted: Definition;
  set: (more: Partial<Definition>) => void;
  faults: Record<string, string>;
  fixed: boolean;
}

const EFFECTS = {
  read_only: "It only reads",
  write: "It changes something",
  destructive: "It destroys something",
} as const;

function Fields({ wanted, set, faults, fixed }: FieldsGiven) {
  const jobs = useList("job_list", { limit: 200 });
  const publication = { mcp: false, ui_admin: false, ui_user: false, ...wanted.publication };
  const policy = { allow_admin: true, allow_user: false, ...wanted.invoke_policy };
  const annotations = {
    read_only: false,
    destructive: false,
    idempotent: false,
    open_world: true,
    ...wanted.annotations,
  };
  const proxy = { mode: "off" as const, timeout_seconds: 30, ...wanted.proxy_policy };
  const effect = annotations.read_only ? "read_only" : annotations.destructive ? "destructive" : "write";
  const text = (key: "slug" | "display_name" | "description" | "target_message_tag" | "response_slot") => ({
    value: wanted[key] ?? "",
    error: faults[key],
    onChange: (event: { currentTarget: { value: string } }) => set({ [key]: event.currentTarget.value }),
  });
  return (
    <div className="fields narrow">
      <TextInput
        label="Slug"
        description="Its stable name; for MCP at most 36 of a-z, 0-9, _ and -."
        required
        disabled={fixed}
        {...text("slug")}
      />
      <TextInput label="Display name" {...text("display_name")} />
      <Textarea label="What a run does" autosize minRows={2} {...text("description")} />
      <TextInput
        label="Target job"
        description="The job that receives the message."
        required
        list="jobs"
        value={wanted.target_job_name}
        error={faults.target_job_name}
        onChange={(event) => set({ target_job_name: event.currentTarget.value })}
      />
      <datalist id="jobs">
        {jobs.rows.map(({ name }) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      <Target job={wanted.target_job_name} />
      <TextInput label="Message tag" description="That its filter listens to." {...text("target_message_tag")} />
      <Ticks label="Offered" fault={faults.publication}>
        {(
          [
            ["mcp", "As an MCP tool"],
            ["ui_admin", "In the console for admins"],
            ["ui_user", "In the console for users"],
          ] as const
        ).map(([key, label]) => (
          <Checkbox
            key={key}
            label={label}
            checked={publication[key]}
            onChange={(event) => set({ publication: { ...publication, [key]: event.currentTarget.checked } })}
          />
        ))}
      </Ticks>
      <Ticks label="Who may run it" fault={faults.invoke_policy}>
        {(
          [
            ["allow_admin", "Admins"],
            ["allow_user", "Users"],
          ] as const
        ).map(([key, label]) => (
          <Checkbox
            key={key}
            label={label}
            checked={policy[key]}
            onChange={(event) => set({ invoke_policy: { ...policy, [key]: event.currentTarget.checked } })}
          />
        ))}
      </Ticks>
      <Select
        label="Effect"
        description="Clients ask their user first by it."
        data={Object.entries(EFFECTS).map(([value, label]) => ({ value, label }))}
        value={effect}
        error={faults.annotations}
        allowDeselect={false}
        onChange={(chosen) =>
          set({
            annotations: {
              ...annotations,
              read_only: chosen === "read_only",
              destructive: chosen === "destructive",
            },
          })
        }
      />
      <TextInput
        label="Response slot"
        description="With one, a run ends with the answer of the job; without, when its message is accepted."
        {...text("response_slot")}
      />
      <NumberInput
        label="Seconds to answer"
        value={wanted.response_timeout_seconds ?? 15}
        min={1}
        max={3600}
        error={faults.response_timeout_seconds}
        disabled={!wanted.response_slot}
        onChange={(seconds) => set({ response_timeout_seconds: Number(seconds) })}
      />
      <Checkbox
        label="Record the answer of a request that the job passes on (proxy)"
        checked={proxy.mode !== "off"}
        error={faults.proxy_policy}
        disabled={!wanted.response_slot}
        onChange={(event) =>
          set({ proxy_policy: { ...proxy, mode: event.currentTarget.checked ? "passthrough" : "off" } })
        }
      />
      <Json
        label="Parameters (JSON Schema)"
        value={wanted.parameter_schema}
        fault={faults.parameter_schema}
        set={(value) => set({ parameter_schema: value })}
      />
      <Json
        label="Defaults"
        value={wanted.default_params}
        fault={faults.default_params}
        set={(value) => set({ default_params: value })}
      />
    </div>
  );
}

function Ticks({ label, fault, children }: { label: string; fault: string | undefined; children: ReactNode }) {
  return (
    <fieldset className="ticks">
      <legend>{label}</legend>
      {children}
      {fault && <p className="state failed">{fault}</p>}
    </fieldset>
  );
}

interface JsonGiven {
  label: string;
  value: Record<string, unknown> | undefined;
  fault: string | undefined;
  set: (value: Record<string, unknown>) => void;
}

/** A part that is JSON: what does not parse (yet) is kept as it was typed, and said. */
function Json({ label, value, fault, set }: JsonGiven) {
  const [text, setText] = useState(() => JSON.stringify(value ?? {}, null, 2));
  const [wrong, setWrong] = useState("");
  return (
    <Textarea
      label={label}
      autosize
      minRows={2}
      maxRows={20}
      value={text}
      error={wrong || fault}
      styles={{ input: { fontFamily: "var(--mono)" } }}
      onChange={(event) => {
        setText(event.currentTarget.value);
        try {
          set(JSON.parse(event.currentTarget.value));
          setWrong("");
        } catch (error) {
          setWrong((error as Error).message);
        }
      }}
    />
  );
}

const AFTER_TYPING_MS = 400;

/** Whether somebody runs the job that is named. */
function Target({ job }: { job: string }) {
  const [asked, setAsked] = useState(job);
  useEffect(() => {
    const timer = setTimeout(() => setAsked(job), AFTER_TYPING_MS);
    return () => clearTimeout(timer);
  }, [job]);
  const read = useList("workload_list", { job: asked }, { enabled: !!asked });
  if (!asked || read.isPending) return null;
  const up = read.rows.filter(({ health }) => toneOf(health ?? "progressing") === "well");
  return (
    <p className="quiet" role="status">
      {up.length ? (
        <>
          <State word="running" /> on {up.map(({ worker }) => worker).join(", ")}
        </>
      ) : (
        <>
          <State word="offline" /> No worker runs <code>{asked}</code>: runs wait for one, or end as timed out.
        </>
      )}
    </p>
  );
}

function Changes({ old, now }: { old: Definition; now: Definition }) {
  const found = differences(old, now);
  return (
    <Section title="What differs from the present revision">
      {!found.length && <p className="quiet">Nothing yet.</p>}
      <Differences items={found} />
    </Section>
  );
}

export function Differences({ items }: { items: { path: string; old?: unknown; new?: unknown }[] }) {
  return items.map((one) => (
    <div key={one.path} className="mono">
      {one.path}: {one.old === undefined ? "–" : <span className="before">{JSON.stringify(one.old)}</span>} →{" "}
      {one.new === undefined ? "–" : <span className="after">{JSON.stringify(one.new)}</span>}
    </div>
  ));
}

function Published({ done }: { done: Done }) {
  const tenant = useTenant();
  const { act, busy, problem } = useAct();
  const [deployed, setDeployed] = useState("");
  const deploy = (name: string) =>
    act(async () => {
      await call("job_deploy", { name }, { tenant });
      setDeployed(name);
    });
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
      {done.warnings.map((one) => (
        <div key={one.code} className="note warning">
          <p>{one.message}</p>
          {one.mend.map((step) => (
            <p key={step.call + step.why}>
              {step.why} <code>{step.command ?? `${step.call} ${JSON.stringify(step.arguments)}`}</code>{" "}
              {step.call === "job_deploy" && typeof step.arguments.name === "string" && (
                <Button
                  variant="light"
                  loading={busy}
                  disabled={deployed === step.arguments.name}
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
