// The form of a trigger: that of the console (parts/ParameterForm), with plain fields; running it by its tool.

import "./apps.css";
import { useRef, useState } from "react";
import { createRoot } from "react-dom/client";
import type { Schemas } from "../api/client";
import ParameterForm from "../parts/ParameterForm";
import { tell } from "./elements";
import { type Answer, call, said, start } from "./host";

type Trigger = Schemas["Trigger"];
type Params = Record<string, unknown>;
type Faults = { pointer: string; message: string }[];

/** What the schema and the trigger put there before anybody types. */
function firstOf(trigger: Trigger): Params {
  return { ...(trigger.definition.default_params ?? {}) };
}

function Page({ trigger }: { trigger: Trigger }) {
  const [params, setParams] = useState<Params>(() => firstOf(trigger));
  const [faults, setFaults] = useState<Faults>([]);
  const [busy, setBusy] = useState(false);
  // One key for the same parameters: pressing twice, or again after a lost answer, runs it once.
  const sent = useRef({ params: "", key: "" });

  async function run(wanted: Params) {
    if (busy) return;
    const text = JSON.stringify(wanted);
    if (text !== sent.current.params) sent.current = { params: text, key: keyOf() };
    const { key } = sent.current;
    setBusy(true);
    setFaults([]);
    tell("Running…");
    try {
      const answer = trigger.tool_name
        ? await call(trigger.tool_name, { ...wanted, _idempotency_key: key })
        : await call("trigger_invoke", { slug: trigger.slug, params: wanted, idempotency_key: key });
      const error = answer.structuredContent?.error as { errors?: Faults } | undefined;
      setFaults(error?.errors ?? []);
      tell(said(answer), answer.isError);
    } catch (error) {
      tell((error as Error).message, true);
    } finally {
      setBusy(false);
    }
  }

  const facts = [trigger.description, `revision ${trigger.revision}`, trigger.active === false && "inactive"];
  return (
    <>
      <h1>{trigger.display_name || trigger.slug}</h1>
      <p className="quiet">{facts.filter(Boolean).join(" · ")}</p>
      <ParameterForm
        schema={trigger.definition.parameter_schema ?? {}}
        value={params}
        change={setParams}
        faults={faults}
        submit={(wanted) => void run(wanted)}
        disabled={trigger.invokable === false}
        busy={busy}
        verb="Run now"
        formless
      />
    </>
  );
}

// A page of an opaque origin has no crypto.randomUUID in every host.
const keyOf = () => `form-${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;

const main = document.getElementById("main");
const root = main && createRoot(main);

function answered(answer: Answer) {
  const trigger = answer.structuredContent as Trigger | undefined;
  if (answer.isError || !trigger?.definition) root?.render(<pre>{said(answer)}</pre>);
  else root?.render(<Page key={`${trigger.slug} ${trigger.revision}`} trigger={trigger} />);
}

start(answered).catch((error: Error) => tell(error.message, true));
