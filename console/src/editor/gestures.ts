// What a gesture on the picture means for the document: a list of edits of its values (ops.ts). Pure.

import type { Op } from "./ops";
import type { Channel, Ends, Path, Picture, Step } from "./project";

/** What a step may be bound to, with the names of its ports. */
export interface Module {
  use: string;
  part: string;
  does: string;
  in: string[];
  out: string[];
}

export type Side = "in" | "out";

/** The ends of a step: those of its module, or (unknown, or dispatching) those that it binds. */
export function portsOf(step: Step, module: Module | undefined): Record<Side, string[]> {
  const bound = (ends: Ends, only: string) => Object.keys(ends).map((port) => port || only);
  return {
    in: module?.in ?? bound(step.in, "in"),
    out: step.dispatch ? bound(step.out, "out") : (module?.out ?? bound(step.out, "out")),
  };
}

/** What a port leads to; undefined while it is open. */
export const endOf = (step: Step, side: Side, port: string): string | undefined => step[side][port] ?? step[side][""];

export const nameOf = (end: string | undefined): string | null =>
  end?.startsWith("channel:") ? end.slice("channel:".length) : null;

/** The first of `base`, `base-2`, ... that is not taken. */
export function unused(base: string, taken: Iterable<string>): string {
  const known = new Set(taken);
  for (let n = 1; ; n++) {
    const name = n === 1 ? base : `${base}-${n}`;
    if (!known.has(name)) return name;
  }
}

export function channelsOf(picture: Picture): string[] {
  const ends = picture.steps.flatMap((step) => [...Object.values(step.in), ...Object.values(step.out)]);
  return [...new Set([...Object.keys(picture.channels), ...ends.flatMap((end) => nameOf(end) ?? [])])];
}

/** Who writes to a channel or reads from it. */
export const usersOf = (picture: Picture, side: Side, name: string): Step[] =>
  picture.steps.filter((step) => Object.values(step[side]).includes(`channel:${name}`));

const at = (step: Step, ...more: Path): Path => ["steps", step.index, ...more];

/** Lead a port to a channel or to an end of the workflow; to nothing with null. */
export function bind(step: Step, side: Side, port: string, ports: string[], end: string | null): Op[] {
  const ends = step[side];
  const single = "" in ends || (ports.length < 2 && !Object.keys(ends).length && !(side === "out" && step.dispatch));
  if (end === null) {
    if (!("" in ends) && !(port in ends)) return [];
    return [{ do: "remove", at: "" in ends || Object.keys(ends).length < 2 ? at(step, side) : at(step, side, port) }];
  }
  if (single && ports.length < 2) return [{ do: "set", at: at(step, side), value: end }];
  if ("" in ends) {
    const first = ports.find((one) => one !== port) ?? port;
    return [{ do: "set", at: at(step, side), value: { [first]: ends[""], [port]: end } }];
  }
  return [{ do: "set", at: at(step, side, port), value: end }];
}

interface End {
  step: Step;
  port: string;
  ports: string[];
}

/** Let one step feed another one: over the channel that is there, or over a new one. */
export function connect(picture: Picture, from: End, to: End): Op[] {
  const before = endOf(from.step, "out", from.port);
  const after = endOf(to.step, "in", to.port);
  if (before && before === after) return [];
  const end = before ?? after ?? `channel:${unused(from.step.id || "events", channelsOf(picture))}`;
  return [
    ...(before === end ? [] : bind(from.step, "out", from.port, from.ports, end)),
    ...(after === end ? [] : bind(to.step, "in", to.port, to.ports, end)),
  ];
}

/** Take the way from one step to another one out; the channel stays while others use it. */
export function disconnect(picture: Picture, name: string, from: Step, to: Step): Op[] {
  const unbind = (step: Step, side: Side) =>
    Object.entries(step[side])
      .filter(([, end]) => end === `channel:${name}`)
      .flatMap(([port]) => bind(step, side, port, [], null));
  if (usersOf(picture, "in", name).length > 1) return unbind(to, "in");
  if (usersOf(picture, "out", name).length > 1) return unbind(from, "out");
  return [...unbind(from, "out"), ...unbind(to, "in"), ...dropChannels(picture, [name])];
}

const dropChannels = (picture: Picture, names: string[]): Op[] =>
  names.filter((name) => name in picture.channels).map((name) => ({ do: "remove", at: ["channels", name] }));

const shortOf = (use: string) => use.replace(/^\w+:/, "").replace(/@.*$/, "").replaceAll("_", "-");

/** A new step; behind another one it reads what that one writes. */
export function addStep(picture: Picture, module: Module, after: Step | undefined, outs: string[]): Op[] {
  const ids = picture.steps.map(({ id }) => id);
  const value: Record<string, unknown> = { id: unused(shortOf(module.use), ids), use: module.use };
  const ops: Op[] = [];
  const [port] = outs;
  if (after && port !== undefined && module.in[0] !== undefined) {
    const before = endOf(after, "out", port);
    const end = before ?? `channel:${unused(after.id || "events", channelsOf(picture))}`;
    value.in = module.in.length > 1 ? { [module.in[0]]: end } : end;
    if (!before) ops.push(...bind(after, "out", port, outs, end));
  }
  return [...ops, { do: "add", at: ["steps"], value, index: after ? after.index + 1 : undefined }];
}

/** A new step in the way from a channel to one of its readers. */
export function insertBefore(picture: Picture, module: Module, name: string, reader: Step, ins: string[]): Op[] {
  const [into, out] = [module.in[0], module.out[0]];
  if (into === undefined || out === undefined) return [];
  const id = unused(
    shortOf(module.use),
    picture.steps.map((step) => step.id),
  );
  const made = `channel:${unused(id, channelsOf(picture))}`;
  const port = Object.entries(reader.in).find(([, end]) => end === `channel:${name}`)?.[0] ?? "";
  const value = {
    id,
    use: module.use,
    in: module.in.length > 1 ? { [into]: `channel:${name}` } : `channel:${name}`,
    out: module.out.length > 1 ? { [out]: made } : made,
  };
  return [...bind(reader, "in", port, ins, made), { do: "add", at: ["steps"], value, index: reader.index }];
}

/** Another id, also where messages name the step. */
export function renameStep(picture: Picture, step: Step, id: string): Op[] {
  const told = picture.messages.flatMap((one): Op[] => [
    ...(one.from === step.id ? [{ do: "set" as const, at: ["messages", one.index, "from"], value: id }] : []),
    ...(one.to === step.id ? [{ do: "set" as const, at: ["messages", one.index, "to"], value: id }] : []),
  ]);
  return [{ do: "set", at: at(step, "id"), value: id }, ...told];
}

/** Without the step, its messages, and settings of channels that nobody else names. */
export function removeStep(picture: Picture, step: Step): Op[] {
  const others = { ...picture, channels: {}, steps: picture.steps.filter(({ index }) => index !== step.index) };
  const left = new Set(channelsOf(others));
  const own = [...Object.values(step.in), ...Object.values(step.out)].flatMap((end) => nameOf(end) ?? []);
  const told = picture.messages.filter((one) => one.from === step.id || one.to === step.id).toReversed();
  return [
    ...told.map((one): Op => ({ do: "remove", at: ["messages", one.index] })),
    ...dropChannels(
      picture,
      [...new Set(own)].filter((name) => !left.has(name)),
    ),
    { do: "remove", at: at(step) },
  ];
}

export function renameChannel(picture: Picture, name: string, next: string): Op[] {
  const ops = picture.steps.flatMap((step) =>
    (["in", "out"] as const).flatMap((side) =>
      Object.entries(step[side])
        .filter(([, end]) => end === `channel:${name}`)
        .map(([port]): Op => ({ do: "set", at: at(step, side, ...(port ? [port] : [])), value: `channel:${next}` })),
    ),
  );
  return name in picture.channels ? [...ops, { do: "rename", at: ["channels", name], key: next }] : ops;
}

/** How a channel moves events; what says nothing but the default is left out. */
export function setTransport(picture: Picture, name: string, transport: string): Op[] {
  const there: Channel | undefined = picture.channels[name];
  if (!there) return [{ do: "set", at: ["channels", name], value: { transport } }];
  if (transport === "worker-channel") return [{ do: "remove", at: ["channels", name] }];
  return [{ do: "set", at: ["channels", name, "transport"], value: transport }];
}

export const setSetting = (name: string, key: string, value: unknown): Op =>
  value === undefined
    ? { do: "remove", at: ["channels", name, "with", key] }
    : { do: "set", at: ["channels", name, "with", key], value };

/** Spread the events of a step over named outputs, or (null) over none. */
export function setDispatch(step: Step, mode: string | null): Op[] {
  if (mode !== null && step.dispatch) return [{ do: "set", at: at(step, "dispatch", "mode"), value: mode }];
  const only = Object.values(step.out)[0];
  if (mode === null)
    return [
      { do: "remove", at: at(step, "dispatch") },
      ...(only && !("" in step.out) ? [{ do: "set" as const, at: at(step, "out"), value: only }] : []),
    ];
  const named: Op[] = "" in step.out ? [{ do: "set", at: at(step, "out"), value: { main: only } }] : [];
  return [...named, { do: "set", at: at(step, "dispatch"), value: { mode } }];
}

/** One more output of a dispatch, with a channel of its own. */
export function addOutput(picture: Picture, step: Step, output: string): Op[] {
  const end = `channel:${unused(`${step.id}-${output}`, channelsOf(picture))}`;
  return [{ do: "set", at: at(step, "out", output), value: end }];
}

/** What a form holds without what is not typed yet, which no document can say. */
function written(value: unknown): unknown {
  if (Array.isArray(value)) return value.filter((one) => one !== undefined).map(written);
  return value && typeof value === "object" ? JSON.parse(JSON.stringify(value)) : value;
}

/** Set what differs between two values of a map, and remove what is gone; defaults that nobody wrote stay unwritten. */
export function setParameters(
  step: Step,
  next: Record<string, unknown>,
  defaults: Record<string, unknown>,
  equal: (a: unknown, b: unknown) => boolean,
): Op[] {
  const ops: Op[] = [];
  for (const [key, typed] of Object.entries(next)) {
    const value = written(typed);
    if (value === undefined || equal(value, step.with[key])) continue;
    const empty = value !== null && typeof value === "object" && !Object.keys(value).length;
    if (!(key in step.with) && (empty || equal(value, defaults[key]))) continue;
    ops.push({ do: "set", at: at(step, "with", key), value });
  }
  for (const key of Object.keys(step.with))
    if (key in next && next[key] === undefined) ops.push({ do: "remove", at: at(step, "with", key) });
  return ops;
}
