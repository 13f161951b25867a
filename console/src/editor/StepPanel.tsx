// One step: its name, module, ways in and out, how it spreads events, and the form of its parameters.

import { Button, NumberInput, Select, TextInput } from "@mantine/core";
import { lazy, Suspense, useMemo, useState } from "react";
import { Loading } from "../parts/Page";
import {
  bind,
  channelsOf,
  endOf,
  type Module,
  portsOf,
  removeStep,
  renameStep,
  type Side,
  setDispatch,
  setParameters,
  unused,
} from "./gestures";
import { type JsonSchema, useSchema } from "./modules";
import { type Op, same } from "./ops";
import type { Picture, Step } from "./project";
import { Routes } from "./Routes";

const ParameterForm = lazy(() => import("../parts/ParameterForm"));

interface Given {
  picture: Picture;
  step: Step;
  modules: Map<string, Module>;
  edit: (ops: Op[], typed?: boolean) => void;
  /** Another id, which the picture then has to choose. */
  renamed: (id: string) => void;
  faults: { pointer: string; message: string }[];
}

/** A text that counts when it is done, with Enter or when another field is gone to. */
export function Field(props: { label: string; value: string; set: (value: string) => void; description?: string }) {
  return (
    <TextInput
      key={props.value}
      label={props.label}
      description={props.description}
      defaultValue={props.value}
      onBlur={(event) => {
        const typed = event.currentTarget.value;
        if (typed !== props.value) props.set(typed);
      }}
      onKeyDown={(event) => event.key === "Enter" && event.currentTarget.blur()}
    />
  );
}

const OPEN = "open";
const NEW = "a new channel";
const MODES = ["clone", "round-robin", "conditional"];

export function StepPanel({ picture, step, modules, edit, renamed, faults }: Given) {
  const module = modules.get(step.use ?? "");
  const ports = portsOf(step, module);
  const schema = useSchema(step.use, modules);
  const at = (key: string) => ["steps", step.index, key];
  const wanted = step.slot?.accepts ?? "";
  const uses = [...modules.keys()].filter((use) => use.startsWith(wanted));
  return (
    <section className="panel" aria-label={`Step ${step.id}`}>
      <h2>
        Step <code>{step.id}</code>
      </h2>
      {step.slot?.hint && <p className="quiet">{step.slot.hint}</p>}
      <Field
        label="Id"
        value={step.id}
        set={(id) => {
          if (!id) return;
          edit(renameStep(picture, step, id));
          renamed(id);
        }}
      />
      <Select
        label="Module"
        description={module?.does}
        data={step.use && !uses.includes(step.use) ? [step.use, ...uses] : uses}
        value={step.use}
        searchable
        limit={50}
        onChange={(use) => use && edit([{ do: "set", at: at("use"), value: use }])}
      />
      {(["in", "out"] as const).map((side) =>
        ports[side].map((port) => (
          <End key={side + port} {...{ picture, step, side, port, edit }} ports={ports[side]} />
        )),
      )}
      {ports.out.length > 0 && (
        <Select
          label="Spread over several outputs"
          data={MODES}
          placeholder="no, one way out"
          value={step.dispatch?.mode ?? null}
          clearable
          onChange={(mode) => edit(setDispatch(step, mode))}
        />
      )}
      {step.dispatch && <Routes picture={picture} step={step} edit={edit} />}
      <NumberInput
        label="Replicas"
        min={1}
        value={step.replicas}
        allowDecimal={false}
        onChange={(many) =>
          typeof many === "number" &&
          many !== step.replicas &&
          edit([many === 1 ? { do: "remove", at: at("replicas") } : { do: "set", at: at("replicas"), value: many }])
        }
      />
      <Field
        label="Worker group"
        value={step.group}
        set={(group) =>
          edit([
            group
              ? { do: "set", at: [...at("placement"), "group"], value: group }
              : { do: "remove", at: at("placement") },
          ])
        }
      />
      <Select
        label="Wakes another step"
        description={
          picture.messages
            .filter((one) => one.from === step.id)
            .map((one) => `${one.to} with ${one.tag}`)
            .join(", ") || "By a message, when it has written."
        }
        placeholder="choose a step to wake"
        data={picture.steps.filter((one) => one !== step && one.id).map((one) => one.id)}
        value={null}
        onChange={(to) =>
          to && edit([{ do: "add", at: ["messages"], value: { from: step.id, to, tag: `${step.id}-written` } }])
        }
      />
      <h2>Parameters</h2>
      {schema ? (
        <Parameters {...{ picture, step, schema, edit, faults }} />
      ) : (
        <p className="quiet">{step.use ? "The parameters of this module are not known." : "Choose a module first."}</p>
      )}
      <Button variant="subtle" color="red" onClick={() => edit(removeStep(picture, step))}>
        Delete step {step.id}
      </Button>
    </section>
  );
}

interface EndGiven {
  picture: Picture;
  step: Step;
  side: Side;
  port: string;
  ports: string[];
  edit: (ops: Op[]) => void;
}

/** Where a port leads: the way for the keyboard to connect. */
function End({ picture, step, side, port, ports, edit }: EndGiven) {
  const end = endOf(step, side, port);
  const known = [
    ...channelsOf(picture).map((name) => `channel:${name}`),
    ...picture.ports[side].map((name) => `port:${name}`),
  ];
  return (
    <Select
      label={`${side === "in" ? "Reads from" : "Writes to"}${ports.length > 1 ? ` (${port})` : ""}`}
      data={[OPEN, ...known, NEW]}
      value={end ?? OPEN}
      allowDeselect={false}
      searchable
      onChange={(chosen) => {
        if (!chosen) return;
        const fresh = `channel:${unused(step.id || "events", channelsOf(picture))}`;
        edit(bind(step, side, port, ports, chosen === OPEN ? null : chosen === NEW ? fresh : chosen));
      }}
    />
  );
}

interface ParametersGiven {
  picture: Picture;
  step: Step;
  schema: JsonSchema;
  edit: (ops: Op[], typed?: boolean) => void;
  faults: { pointer: string; message: string }[];
}

const asked = (value: unknown): value is string => typeof value === "string" && value.includes("{{");

function Parameters({ picture, step, schema, edit, faults }: ParametersGiven) {
  const [filling, setFilling] = useState<string | null>(null);
  const properties = schema.properties ?? {};
  const filled = Object.entries(step.with).filter((one): one is [string, string] => asked(one[1]));
  const names = filled.map(([name]) => name).join(" ");
  const rest = useMemo(() => {
    const taken = names.split(" ");
    return {
      ...schema,
      properties: Object.fromEntries(Object.entries(properties).filter(([name]) => !taken.includes(name))),
      required: ((schema.required as string[] | undefined) ?? []).filter((name) => !taken.includes(name)),
    };
  }, [schema, properties, names]);
  const values = Object.fromEntries(Object.entries(step.with).filter(([, value]) => !asked(value)));
  const defaults = Object.fromEntries(Object.entries(properties).map(([name, one]) => [name, one.default]));
  const at = (name: string) => ["steps", step.index, "with", name];
  const places = faults
    .filter(({ pointer }) => pointer.startsWith(`/steps/${step.index}/with/`))
    .map(({ pointer, message }) => ({ pointer: pointer.replace(/^\/steps\/\d+\/with/, ""), message }));
  return (
    <>
      {filled.map(([name, value]) => (
        <div key={name} className="filled">
          <Field label={name} value={value} set={(text) => edit([{ do: "set", at: at(name), value: text }])} />
          <Button variant="subtle" size="compact-xs" onClick={() => edit([{ do: "remove", at: at(name) }])}>
            Give {name} a value here
          </Button>
        </div>
      ))}
      <Suspense fallback={<Loading />}>
        <ParameterForm
          key={`${step.use} ${names}`}
          schema={rest}
          value={values}
          change={(next) => edit(setParameters(step, next, defaults, same), true)}
          faults={places}
          submit={() => {}}
          disabled={false}
          busy={false}
        />
      </Suspense>
      <div className="filters">
        <Select
          aria-label="Parameter that a deployment is asked for"
          placeholder="Ask for a parameter"
          data={Object.keys(rest.properties)}
          value={filling}
          onChange={setFilling}
          w={150}
        />
        <Select
          aria-label="Wizard field that fills it"
          placeholder="by field"
          data={[...picture.wizard.map(({ field }) => field).filter(Boolean), "a new field"]}
          value={null}
          disabled={!filling}
          w={120}
          onChange={(field) => {
            if (!filling || !field) return;
            const taken = picture.wizard.map((one) => one.field);
            const name = field === "a new field" ? unused(filling.replaceAll("-", "_"), taken) : field;
            const type = properties[filling]?.type;
            const value = { field: name, ...(type && type !== "string" ? { type } : {}) };
            edit([
              ...(field === "a new field" ? [{ do: "add" as const, at: ["wizard"], value }] : []),
              { do: "set", at: at(filling), value: `{{wizard.${name}}}` },
            ]);
            setFilling(null);
          }}
        />
      </div>
    </>
  );
}
