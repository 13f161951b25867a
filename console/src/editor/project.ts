// What a text says, as far as it can be drawn: steps, channels, messages, wizard fields, each with its place in the
// text. Pure. The text is the only state, so this is made anew of every text and nothing is ever written to it.

import { type Document, isCollection, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";

export type Path = (string | number)[];
/** From and to, as offsets into the text. */
export type Range = [number, number];
type Json = Record<string, unknown>;

/** Port (or output) -> `channel:NAME` or `port:NAME`; the port "" is the only one of its module. */
export type Ends = Record<string, string>;

export interface Dispatch {
  mode: string;
  field: string;
  routes: Record<string, string>;
  default: string | null;
}

export interface Step {
  index: number;
  id: string;
  use: string | null;
  slot: { accepts: string; hint: string } | null;
  with: Json;
  in: Ends;
  out: Ends;
  dispatch: Dispatch | null;
  group: string;
  replicas: number;
  description: string;
}

export interface Channel {
  transport: string;
  with: Json;
}

export interface Message {
  index: number;
  from: string;
  to: string;
  tag: string;
}

export interface WizardField {
  index: number;
  field: string;
  title: string;
  type: string;
  required: boolean;
  default: unknown;
  description: string;
}

export interface Picture {
  kind: string;
  slug: string;
  title: string;
  steps: Step[];
  channels: Record<string, Channel>;
  messages: Message[];
  wizard: WizardField[];
  ports: { in: string[]; out: string[] };
}

export type Projected = { picture: Picture } | { fault: { line: number; message: string } };

const isText = (value: unknown): value is string => typeof value === "string";
const textOf = (value: unknown): string => (isText(value) ? value : "");
const mapOf = (value: unknown): Json =>
  value && typeof value === "object" && !Array.isArray(value) ? (value as Json) : {};
const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/** The text as a document with ranges, and how to tell lines. */
export function read(text: string): { document: Document.Parsed; lines: LineCounter } {
  const lines = new LineCounter();
  return { document: parseDocument(text, { lineCounter: lines, version: "1.2" }), lines };
}

export function project(text: string): Projected {
  const { document, lines } = read(text);
  const [error] = document.errors;
  if (error) {
    const message = error.message.split(/ at line \d+|\n/)[0] ?? "it cannot be read";
    return { fault: { line: lines.linePos(error.pos[0]).line, message } };
  }
  if (!isMap(document.contents)) return { fault: { line: 1, message: "a document is a map of keys" } };
  return { picture: pictureOf(document.toJS({ maxAliasCount: 0 }) as Json) };
}

/** What is drawn of the values of a document; what has another shape is left out, and validation tells of it. */
export function pictureOf(data: Json): Picture {
  const ports = mapOf(data.ports);
  return {
    kind: textOf(data.kind),
    slug: textOf(data.slug),
    title: textOf(data.title),
    steps: listOf(data.steps).map((one, index) => stepOf(mapOf(one), index)),
    channels: Object.fromEntries(
      Object.entries(mapOf(data.channels)).map(([name, one]) => [
        name,
        { transport: textOf(mapOf(one).transport) || "worker-channel", with: mapOf(mapOf(one).with) },
      ]),
    ),
    messages: listOf(data.messages).map((one, index) => {
      const { from, to, tag } = mapOf(one);
      return { index, from: textOf(from), to: textOf(to), tag: textOf(tag) };
    }),
    wizard: listOf(data.wizard).map((one, index) => {
      const field = mapOf(one);
      return {
        index,
        field: textOf(field.field),
        title: textOf(field.title),
        type: textOf(field.type) || "string",
        required: field.required === true,
        default: field.default ?? null,
        description: textOf(field.description),
      };
    }),
    ports: { in: listOf(ports.in).filter(isText), out: listOf(ports.out).filter(isText) },
  };
}

function endsOf(value: unknown): Ends {
  if (isText(value)) return { "": value };
  return Object.fromEntries(Object.entries(mapOf(value)).filter((one): one is [string, string] => isText(one[1])));
}

function stepOf(step: Json, index: number): Step {
  const dispatch = mapOf(step.dispatch);
  return {
    index,
    id: textOf(step.id),
    use: isText(step.use) ? step.use : null,
    slot: step.slot
      ? { accepts: textOf(mapOf(step.slot).accepts) || "blueprint", hint: textOf(mapOf(step.slot).hint) }
      : null,
    with: mapOf(step.with),
    in: endsOf(step.in),
    out: endsOf(step.out),
    dispatch: step.dispatch
      ? {
          mode: textOf(dispatch.mode) || "clone",
          field: textOf(dispatch.field),
          routes: endsOf(dispatch.routes),
          default: isText(dispatch.default) ? dispatch.default : null,
        }
      : null,
    group: textOf(mapOf(step.placement).group),
    replicas: typeof step.replicas === "number" ? step.replicas : 1,
    description: textOf(step.description),
  };
}

/** The parts of a JSON Pointer. */
export const pathOf = (pointer: string): Path =>
  pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));

export function nodeAt(document: Document.Parsed, path: Path): Node | null {
  let node: unknown = document.contents;
  for (const part of path) {
    if (!isCollection(node)) return null;
    node = node.get(isSeq(node) ? Number(part) : part, true);
  }
  return (node as Node | null | undefined) ?? null;
}

/** Where the value at a path stands, or the nearest one around it that is there. */
export function rangeOf(text: string, path: Path): Range {
  const { document } = read(text);
  for (let end = path.length; end > 0; end--) {
    const node = nodeAt(document, path.slice(0, end));
    if (node?.range && (isCollection(node) || isScalar(node))) return [node.range[0], node.range[1]];
  }
  return [0, 0];
}

/** The step that is written at an offset; null elsewhere. */
export function stepAt(text: string, offset: number): number | null {
  const { document } = read(text);
  const steps = nodeAt(document, ["steps"]);
  if (!isSeq(steps)) return null;
  const found = steps.items.findIndex(
    (one) => ((one as Node).range?.[0] ?? Infinity) <= offset && offset <= ((one as Node).range?.[1] ?? -1),
  );
  return found < 0 ? null : found;
}
