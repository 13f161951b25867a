// The form of a trigger: its fields, what the server said of each, and whether somebody runs its job.

import { Checkbox, NumberInput, Select, Textarea, TextInput } from "@mantine/core";
import { type ReactNode, useEffect, useState } from "react";
import { useList } from "../api/queries";
import { State, toneOf } from "../parts/State";
import { type Definition, objectOf, waitsFor } from "./triggerForm";

interface FieldsGiven {
  wanted: Definition;
  set: (more: Partial<Definition>) => void;
  faults: Record<string, string>;
  /** A field holds what is no JSON, or no longer does. */
  broken: (label: string, wrong: string) => void;
  fixed: boolean;
}

const EFFECTS = {
  read_only: "It only reads",
  write: "It changes something",
  destructive: "It destroys something",
} as const;

export function Fields({ wanted, set, faults, broken, fixed }: FieldsGiven) {
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
        broken={broken}
      />
      <Json
        label="Defaults"
        value={wanted.default_params}
        fault={faults.default_params}
        set={(value) => set({ default_params: value })}
        broken={broken}
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
  broken: FieldsGiven["broken"];
}

/** A part that is JSON: what does not parse (yet) is kept as it was typed, and said; nothing is sent meanwhile. */
function Json({ label, value, fault, set, broken }: JsonGiven) {
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
        const typed = event.currentTarget.value;
        let wrong = "";
        setText(typed);
        try {
          set(typed.trim() ? objectOf(typed) : {});
        } catch (error) {
          wrong = (error as Error).message;
        }
        setWrong(wrong);
        broken(label, wrong);
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
          <State word="offline" /> {waitsFor(asked, read.rows.length > 0)}
        </>
      )}
    </p>
  );
}
