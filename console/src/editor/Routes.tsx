// How a step spreads its events: the outputs, and which values of a field go where.

import { Select } from "@mantine/core";
import { Small } from "../parts/Small";
import { Adder } from "./Adder";
import { addOutput } from "./gestures";
import type { Op } from "./ops";
import type { Picture, Step } from "./project";
import { Field } from "./StepPanel";

interface Given {
  picture: Picture;
  step: Step;
  edit: (ops: Op[]) => void;
}

export function Routes({ picture, step, edit }: Given) {
  const dispatch = step.dispatch;
  if (!dispatch) return null;
  const at = (...more: string[]) => ["steps", step.index, "dispatch", ...more];
  const outputs = Object.keys(step.out).filter(Boolean);
  const routed = new Set([...Object.values(dispatch.routes), dispatch.default]);
  return (
    <fieldset className="routes">
      <legend>Outputs</legend>
      {outputs.map((name) => (
        <div key={name} className="route">
          <code>{name}</code> → <code>{step.out[name]}</code>
          {dispatch.mode === "conditional" && !routed.has(name) && <span className="state warning">no route</span>}
          <Small
            label={`Remove output ${name}`}
            onClick={() => edit([{ do: "remove", at: ["steps", step.index, "out", name] }])}
          >
            ×
          </Small>
        </div>
      ))}
      <Adder what="output" may={(name) => !(name in step.out)} add={(name) => edit(addOutput(picture, step, name))} />
      {dispatch.mode === "conditional" && (
        <>
          <Field
            label="Field that decides"
            value={dispatch.field}
            set={(field) => edit([{ do: "set", at: at("field"), value: field }])}
          />
          {Object.entries(dispatch.routes).map(([one, to]) => (
            <div key={one} className="route">
              <Select
                label={`Value ${one} goes to`}
                data={outputs}
                value={to}
                allowDeselect={false}
                onChange={(next) => next && edit([{ do: "set", at: at("routes", one), value: next }])}
              />
              <Small
                label={`Remove the route of ${one}`}
                onClick={() => edit([{ do: "remove", at: at("routes", one) }])}
              >
                ×
              </Small>
            </div>
          ))}
          <Adder
            what="route"
            part="Value"
            may={(value) => outputs.length > 0 && !(value in dispatch.routes)}
            add={(value) => edit([{ do: "set", at: at("routes", value), value: outputs[0] }])}
          />
          <Select
            label="Every other value goes to"
            data={outputs}
            value={dispatch.default}
            placeholder="nowhere: it is an error"
            clearable
            onChange={(to) =>
              edit([to ? { do: "set", at: at("default"), value: to } : { do: "remove", at: at("default") }])
            }
          />
        </>
      )}
    </fieldset>
  );
}
