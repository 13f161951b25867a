// One way between two steps: a channel with its transport, or a message.

import { Button, Select } from "@mantine/core";
import type { Schemas } from "../api/client";
import { useList } from "../api/queries";
import type { Chosen } from "./Canvas";
import { disconnect, renameChannel, setSetting, setTransport, usersOf } from "./gestures";
import type { Op } from "./ops";
import type { Picture } from "./project";
import { Field } from "./StepPanel";

interface Given {
  picture: Picture;
  chosen: Extract<Chosen, { kind: "channel" | "message" }>;
  edit: (ops: Op[]) => void;
  choose: (chosen: Chosen) => void;
}

const shown = (value: unknown) =>
  value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);

/** A setting as it is meant: numbers, booleans and maps as themselves, everything else as text. */
function meant(typed: string): unknown {
  if (typed === "") return undefined;
  if (!/^(-?\d|true$|false$|\{|\[)/.test(typed)) return typed;
  try {
    return JSON.parse(typed);
  } catch {
    return typed; // 7d, or 2026-01-31
  }
}

export function WayPanel({ picture, chosen, edit, choose }: Given) {
  const palette = useList("palette_get", { limit: 200 });
  if (chosen.kind === "message") {
    const message = picture.messages[chosen.index];
    if (!message) return null;
    return (
      <section className="panel" aria-label="Message">
        <h2>
          Message from <code>{message.from}</code> to <code>{message.to}</code>
        </h2>
        <p className="quiet">It wakes the step; events move over channels.</p>
        <Field
          label="Tag"
          value={message.tag}
          set={(tag) => tag && edit([{ do: "set", at: ["messages", message.index, "tag"], value: tag }])}
        />
        <Button
          variant="subtle"
          color="red"
          onClick={() => {
            edit([{ do: "remove", at: ["messages", message.index] }]);
            choose(null);
          }}
        >
          Delete this message
        </Button>
      </section>
    );
  }
  const { name } = chosen;
  const channel = picture.channels[name] ?? { transport: "worker-channel", with: {} };
  const writers = usersOf(picture, "out", name);
  const readers = usersOf(picture, "in", name);
  const first = palette.data?.pages[0] as { builtins?: Schemas["Builtin"][] } | undefined;
  const transports = (first?.builtins ?? []).filter((one) => one.kind === "transport");
  const about = transports.find((one) => one.name === channel.transport);
  const from = picture.steps.find(({ id }) => id === chosen.from);
  const to = picture.steps.find(({ id }) => id === chosen.to);
  return (
    <section className="panel" aria-label={`Channel ${name}`}>
      <h2>
        Channel <code>{name}</code>
      </h2>
      <p className="quiet">
        {writers.map(({ id }) => id).join(", ")} → {readers.map(({ id }) => id).join(", ")}
      </p>
      <Field
        label="Name"
        value={name}
        set={(next) => {
          if (!next) return;
          edit(renameChannel(picture, name, next));
          choose({ ...chosen, name: next });
        }}
      />
      <Select
        label="Transport"
        description={about?.does}
        data={transports.length ? transports.map((one) => one.name) : [channel.transport]}
        value={channel.transport}
        allowDeselect={false}
        onChange={(transport) => transport && edit(setTransport(picture, name, transport))}
      />
      <p className="quiet">
        {channel.transport === "worker-channel"
          ? "The plan adds no jobs for it; its steps share a worker."
          : `The plan adds ${writers.length} writer${writers.length === 1 ? "" : "s"} and ${readers.length} reader${readers.length === 1 ? "" : "s"}, as jobs of their own.`}
      </p>
      {(about?.settings ?? []).map((setting) => {
        const key = setting.replace("?", "");
        return (
          <Field
            key={key}
            label={key}
            value={shown(channel.with[key])}
            set={(typed) => {
              const value = meant(typed);
              if (name in picture.channels) edit([setSetting(name, key, value)]);
              else if (value !== undefined)
                edit([{ do: "set", at: ["channels", name], value: { with: { [key]: value } } }]);
            }}
          />
        );
      })}
      {from && to && (
        <Button
          variant="subtle"
          color="red"
          onClick={() => {
            edit(disconnect(picture, name, from, to));
            choose(null);
          }}
        >
          Disconnect {to.id} from {from.id}
        </Button>
      )}
    </section>
  );
}
