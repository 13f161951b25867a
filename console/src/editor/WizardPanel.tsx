// What a deployment is asked for: the fields in their order, and the document's own name.

import { Button, Checkbox, Select } from "@mantine/core";
import { useState } from "react";
import { Small } from "../parts/Small";
import { Adder } from "./Adder";
import { unused } from "./gestures";
import type { Op } from "./ops";
import type { Picture, WizardField } from "./project";
import { Field } from "./StepPanel";

interface Given {
  picture: Picture;
  edit: (ops: Op[]) => void;
}

const TYPES = ["string", "path", "integer", "number", "boolean"];

export function WizardPanel({ picture, edit }: Given) {
  const [open, setOpen] = useState<number | null>(null);
  const [dragged, setDragged] = useState<number | null>(null);
  const fields = picture.wizard;
  const move = (from: number, to: number) => {
    if (to < 0 || to >= fields.length || from === to) return;
    edit([{ do: "move", at: ["wizard"], from, to }]);
    setOpen(open === from ? to : open);
  };
  return (
    <section className="panel" aria-label="Document">
      <h2>Document</h2>
      <Field label="Title" value={picture.title} set={(title) => edit([{ do: "set", at: ["title"], value: title }])} />
      <h2>Asked for at a deployment</h2>
      <ol className="wizard">
        {fields.map((one) => (
          <li
            key={one.field || one.index}
            draggable
            onDragStart={() => setDragged(one.index)}
            onDragOver={(event) => dragged !== null && event.preventDefault()}
            onDrop={() => dragged !== null && move(dragged, one.index)}
          >
            <Button variant="subtle" size="compact-xs" onClick={() => setOpen(open === one.index ? null : one.index)}>
              <code>{one.field || "no name"}</code>
            </Button>
            <span className="quiet">
              {one.type}
              {one.required ? ", required" : ""}
            </span>
            <span className="moves">
              <Small
                label={`Move ${one.field} up`}
                disabled={one.index === 0}
                onClick={() => move(one.index, one.index - 1)}
              >
                ↑
              </Small>
              <Small
                label={`Move ${one.field} down`}
                disabled={one.index === fields.length - 1}
                onClick={() => move(one.index, one.index + 1)}
              >
                ↓
              </Small>
            </span>
            {open === one.index && <Asked field={one} edit={edit} />}
          </li>
        ))}
      </ol>
      {!fields.length && <p className="quiet">Nothing: it is deployed as it is.</p>}
      <Adder
        what="field"
        add={(name) => {
          const field = unused(
            name,
            fields.map((one) => one.field),
          );
          edit([{ do: "add", at: ["wizard"], value: { field } }]);
        }}
      />
      <p className="quiet">Choose a step or a way in the picture to see more of it.</p>
    </section>
  );
}

function Asked({ field, edit }: { field: WizardField; edit: (ops: Op[]) => void }) {
  const at = (key: string) => ["wizard", field.index, key];
  const put = (key: string, value: unknown) =>
    edit([value === "" || value === undefined ? { do: "remove", at: at(key) } : { do: "set", at: at(key), value }]);
  const text =
    field.default == null ? "" : typeof field.default === "string" ? field.default : JSON.stringify(field.default);
  const meant = (typed: string): unknown => {
    if (typed === "" || field.type === "string" || field.type === "path") return typed;
    if (field.type === "boolean") return typed === "true";
    return Number.isFinite(Number(typed)) ? Number(typed) : typed;
  };
  return (
    <div className="asked">
      <Field label="Question" value={field.title} set={(title) => put("title", title)} />
      <Select
        label="Type"
        data={TYPES}
        value={field.type}
        allowDeselect={false}
        onChange={(type) => type && put("type", type)}
      />
      <Checkbox
        label="Required"
        checked={field.required}
        onChange={(event) => put("required", event.currentTarget.checked || undefined)}
      />
      <Field label="Default" value={text} set={(typed) => put("default", meant(typed))} />
      <Field label="Description" value={field.description} set={(said) => put("description", said)} />
      <Button variant="subtle" color="red" onClick={() => edit([{ do: "remove", at: ["wizard", field.index] }])}>
        Delete field {field.field}
      </Button>
    </div>
  );
}
