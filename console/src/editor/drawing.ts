// The picture of a document as nodes and edges with ports. Pure.

import { endOf, type Module, nameOf, portsOf, usersOf } from "./gestures";
import type { Picture, Step } from "./project";

export interface Box {
  id: string;
  /** null: an end of the workflow itself. */
  step: Step | null;
  label: string;
  in: string[];
  out: string[];
}

export interface Line {
  id: string;
  kind: "channel" | "port" | "message";
  from: string;
  fromPort: string;
  to: string;
  toPort: string;
  label: string;
  transport: string;
  /** Of a message: its place in the list. */
  index: number;
}

export interface Drawing {
  boxes: Box[];
  lines: Line[];
}

/** Steps by their ids; of those with one id, the later ones also by their place. */
export function keysOf(steps: Step[]): string[] {
  const seen = new Set<string>();
  return steps.map(({ id, index }) => {
    const key = id && !seen.has(id) ? id : `${id}#${index}`;
    seen.add(key);
    return key;
  });
}

export function draw(picture: Picture, modules: Map<string, Module>): Drawing {
  const keys = keysOf(picture.steps);
  const ports = picture.steps.map((step) => portsOf(step, modules.get(step.use ?? "")));
  const boxes: Box[] = picture.steps.map((step, n) => ({
    id: keys[n] ?? "",
    step,
    label: step.id,
    in: ports[n]?.in ?? [],
    out: ports[n]?.out ?? [],
  }));
  for (const port of picture.ports.in)
    boxes.push({ id: `port:${port}`, step: null, label: port, in: [], out: ["out"] });
  for (const port of picture.ports.out)
    boxes.push({ id: `port:${port}`, step: null, label: port, in: ["in"], out: [] });
  const known = new Set(boxes.map(({ id }) => id));
  const lines: Line[] = [];
  const line = (more: Omit<Line, "id">) => lines.push({ id: `${more.kind} ${lines.length}`, ...more });
  for (const [n, from] of picture.steps.entries()) {
    for (const port of ports[n]?.out ?? []) {
      const end = endOf(from, "out", port);
      const name = nameOf(end);
      const base = { from: keys[n] ?? "", fromPort: port, transport: "worker-channel", index: -1 };
      if (name !== null) {
        for (const to of usersOf(picture, "in", name)) {
          const into = Object.entries(to.in).find(([, one]) => one === end)?.[0] ?? "";
          const toPort = into || (ports[to.index]?.in[0] ?? "in");
          const transport = picture.channels[name]?.transport ?? "worker-channel";
          line({ ...base, kind: "channel", to: keys[to.index] ?? "", toPort, label: name, transport });
        }
      } else if (end && known.has(end)) line({ ...base, kind: "port", to: end, toPort: "in", label: "" });
    }
    for (const [port, end] of Object.entries(from.in))
      if (end.startsWith("port:") && known.has(end))
        line({
          ...{ kind: "port", from: end, fromPort: "out", to: keys[n] ?? "", label: "", transport: "", index: -1 },
          toPort: port || (ports[n]?.in[0] ?? "in"),
        });
  }
  for (const { from, to, tag, index } of picture.messages)
    if (known.has(from) && known.has(to))
      line({ kind: "message", from, fromPort: "", to, toPort: "", label: tag, transport: "", index });
  return { boxes, lines };
}
