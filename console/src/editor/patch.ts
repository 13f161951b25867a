// Edits of a document as edits of its text, by the ranges of what is in it: comments, order and quotes stay as they
// are. Pure. Each edit is checked against what it means for the values; where a text is written in a way that the
// ranges do not serve, the document is written anew, which keeps its comments, too.

import { type Document, isCollection, isMap, isPair, isScalar, isSeq, type Node, type Pair, type YAMLMap } from "yaml";
import { applied, type Op, same } from "./ops";
import { nodeAt, type Path, read } from "./project";
import { block, inline, pairs } from "./writing";

export interface Change {
  from: number;
  to: number;
  insert: string;
}

export interface Patch {
  /** One after the other: the places of each are those in the text that the one before left. */
  changes: Change[];
  text: string;
}

/** Raised for a document that cannot be read: nothing is edited by gestures then. */
export class Unreadable extends Error {}

/** The text with all of the edits, and the changes that lead there. */
export function patch(text: string, ops: Op[]): Patch {
  const changes: Change[] = [];
  let now = text;
  for (const op of ops) {
    const change = step(now, op);
    if (!change) continue;
    changes.push(change);
    now = put(now, change);
  }
  return { changes, text: now };
}

const put = (text: string, { from, to, insert }: Change) => text.slice(0, from) + insert + text.slice(to);

function dataOf(text: string): unknown {
  const { document } = read(text);
  if (document.errors.length) throw new Unreadable(document.errors[0]?.message);
  return document.toJS({ maxAliasCount: 0 });
}

function step(text: string, op: Op): Change | null {
  const before = dataOf(text);
  const wanted = applied(before, op);
  if (op.do !== "move" && same(before, wanted)) return null;
  const { document } = read(text);
  const change = changeOf(text, document, op);
  if (change) {
    try {
      if (same(dataOf(put(text, change)), wanted)) return change;
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
    }
  }
  return anew(text, document, op, wanted);
}

/** The document written by the library: for what ranges do not serve. */
function anew(text: string, document: Document.Parsed, op: Op, wanted: unknown): Change | null {
  if (op.do === "set") document.setIn(op.at, document.createNode(op.value));
  else if (op.do === "remove") document.deleteIn(op.at);
  else if (op.do === "add") {
    const list = document.getIn(op.at);
    if (isSeq(list)) list.items.splice(op.index ?? list.items.length, 0, document.createNode(op.value));
    else document.setIn(op.at, document.createNode([op.value]));
  } else if (op.do === "rename") {
    const map = nodeAt(document, op.at.slice(0, -1));
    const pair = isMap(map) ? pairOf(map, op.at.at(-1)) : undefined;
    if (pair) pair.key = document.createNode(op.key);
  } else {
    const list = nodeAt(document, op.at);
    if (isSeq(list)) list.items.splice(op.to, 0, ...list.items.splice(op.from, 1));
  }
  const made = document.toString({ lineWidth: 0, flowCollectionPadding: false });
  if (made === text) return null;
  if (!same(dataOf(made), wanted)) throw new Unreadable("this edit cannot be made in the text; make it by hand");
  let from = 0;
  while (from < text.length && text[from] === made[from]) from++;
  let tail = 0;
  while (tail < Math.min(text.length, made.length) - from && text.at(-1 - tail) === made.at(-1 - tail)) tail++;
  return { from, to: text.length - tail, insert: made.slice(from, made.length - tail) };
}

function changeOf(text: string, document: Document.Parsed, op: Op): Change | null {
  if (op.do === "set") return setting(text, document, op.at, op.value);
  if (op.do === "remove") return removing(text, document, op.at);
  if (op.do === "add") return adding(text, document, op.at, op.value, op.index);
  if (op.do === "rename") return renaming(document, op.at, op.key);
  return moving(text, document, op.at, op.from, op.to);
}

// -- where things stand ------------------------------------------------------------------------------------------

const lineStart = (text: string, at: number) => text.lastIndexOf("\n", at - 1) + 1;

function lineEnd(text: string, at: number): number {
  const found = text.indexOf("\n", at);
  return found < 0 ? text.length : found;
}

const startOf = (node: unknown): number => (node as Node).range?.[0] ?? 0;

/** The end of what is written of a node, without blanks and comments behind it. */
function endOf(text: string, node: unknown): number {
  if (isPair(node)) {
    const value = node.value as Node | null;
    if (value?.range && value.range[1] > value.range[0]) return endOf(text, value);
    const key = endOf(text, node.key);
    const colon = text.indexOf(":", key);
    return colon >= 0 && !text.slice(key, colon).trim() ? colon + 1 : key;
  }
  if (isCollection(node) && !node.flow && node.items.length) return endOf(text, node.items.at(-1));
  let [from, end] = (node as Node).range ?? [0, 0, 0];
  while (end > from && /\s/.test(text[end - 1] ?? "")) end--;
  return end;
}

const pairOf = (map: YAMLMap, key: unknown): Pair | undefined =>
  map.items.find((one) => (isScalar(one.key) ? one.key.value : one.key) === key);

/** Whether what stands at a path is inside of braces or brackets. */
function inFlow(document: Document.Parsed, path: Path): boolean {
  return path.some((_, n) => {
    const node = nodeAt(document, path.slice(0, n));
    return isCollection(node) && Boolean(node.flow);
  });
}

/** The column of a key in its line: how far the keys beside it are indented. */
const column = (text: string, at: number) => at - lineStart(text, at);

// -- the edits ---------------------------------------------------------------------------------------------------

function setting(text: string, document: Document.Parsed, path: Path, value: unknown): Change | null {
  const parent = nodeAt(document, path.slice(0, -1));
  const key = path.at(-1);
  if (isSeq(parent)) {
    const node = parent.items[Number(key)];
    if (!node) return null;
    return { from: startOf(node), to: endOf(text, node), insert: inline(value) };
  }
  const pair = isMap(parent) ? pairOf(parent, key) : undefined;
  if (!pair) return absent(text, document, path, inline(value), value);
  const node = pair.value as Node | null;
  const flow = inFlow(document, path);
  const written = flow ? inline(value) : block(value, column(text, startOf(pair.key)));
  if (!node?.range || node.range[1] === node.range[0]) {
    const at = endOf(text, pair);
    return { from: at, to: at, insert: ` ${written}` };
  }
  return { from: startOf(node), to: endOf(text, node), insert: written };
}

/** A key that is not there yet, behind the last one, or in a map that is not there either. */
function absent(
  text: string,
  document: Document.Parsed,
  path: Path,
  written: string,
  value: unknown,
  below = false,
): Change | null {
  const parent = nodeAt(document, path.slice(0, -1));
  const key = String(path.at(-1));
  if (!isMap(parent)) {
    if (path.length < 2) return null;
    return setting(text, document, path.slice(0, -1), { [key]: value });
  }
  const name = inline(key);
  const last = parent.items.at(-1);
  if (parent.flow) {
    if (!last) return { from: startOf(parent), to: endOf(text, parent), insert: `{${name}: ${inline(value)}}` };
    const at = endOf(text, last);
    return { from: at, to: at, insert: `, ${name}: ${inline(value)}` };
  }
  if (!last) return null;
  const after = placeAmong(parent, key) ?? last;
  const indent = column(text, startOf(after.key));
  const at = lineEnd(text, endOf(text, after));
  const shown = below ? written : block(value, indent);
  return { from: at, to: at, insert: `\n${" ".repeat(indent)}${name}:${below ? "" : " "}${shown}` };
}

/** The order in which people write the keys of a step and of a document. */
const ORDER = [
  ...["kind", "slug", "version", "title", "summary", "tags", "author", "wizard", "channels", "steps", "messages"],
  ...["id", "use", "slot", "with", "in", "out", "dispatch", "placement", "replicas", "description"],
];

/** The pair behind which a key belongs; undefined where that is the end. */
function placeAmong(map: YAMLMap, key: string): Pair | undefined {
  const rank = ORDER.indexOf(key);
  if (rank < 0) return undefined;
  return map.items.findLast((one) => {
    const other = ORDER.indexOf(String(isScalar(one.key) ? one.key.value : one.key));
    return other >= 0 && other < rank;
  });
}

function removing(text: string, document: Document.Parsed, path: Path): Change | null {
  const parent = nodeAt(document, path.slice(0, -1));
  if (!isCollection(parent)) return null;
  const key = path.at(-1);
  const index = isMap(parent)
    ? parent.items.findIndex(({ key: one }) => (isScalar(one) ? one.value : one) === key)
    : Number(key);
  const item = parent.items[index];
  if (!item) return null;
  const head = (one: unknown) => startOf(isPair(one) ? one.key : one);
  const next = parent.items[index + 1];
  const before = parent.items[index - 1];
  if (parent.items.length === 1) {
    const empty = isMap(parent) ? "{}" : "[]";
    const owner = nodeAt(document, path.slice(0, -2));
    const pair = isMap(owner) ? pairOf(owner, path.at(-2)) : undefined;
    const colon = pair ? text.indexOf(":", endOf(text, pair.key)) + 1 : 0;
    const bare = pair && !parent.flow && !text.slice(colon, startOf(parent)).trim();
    return { from: bare ? colon : startOf(parent), to: endOf(text, parent), insert: (bare ? " " : "") + empty };
  }
  if (parent.flow)
    return next
      ? { from: head(item), to: head(next), insert: "" }
      : { from: endOf(text, before), to: endOf(text, item), insert: "" };
  const start = lineStart(text, head(item));
  const lead = text.slice(start, head(item));
  if (isMap(parent) && lead.trim())
    // the first key stands behind the dash of its item
    return next ? { from: head(item), to: head(next), insert: "" } : null;
  const end = lineEnd(text, endOf(text, item));
  return end < text.length
    ? { from: start, to: end + 1, insert: "" }
    : { from: Math.max(0, start - 1), to: end, insert: "" };
}

function adding(text: string, document: Document.Parsed, path: Path, value: unknown, at?: number): Change | null {
  const list = nodeAt(document, path);
  const flow = inFlow(document, path);
  if (!isSeq(list) || !list.items.length) {
    const parent = nodeAt(document, path.slice(0, -1));
    const pair = isMap(parent) ? pairOf(parent, path.at(-1)) : undefined;
    if (flow) return setting(text, document, path, [value]);
    const owner = isMap(parent) ? parent.items[0] : undefined;
    const indent = (owner ? column(text, startOf(owner.key)) : 0) + 2;
    const item = `\n${" ".repeat(indent)}- ${pairs(value, indent + 2)}`;
    if (!pair) return absent(text, document, path, item, [value], true);
    const colon = text.indexOf(":", endOf(text, pair.key)) + 1;
    return { from: colon, to: Math.max(colon, endOf(text, pair)), insert: item };
  }
  const index = at ?? list.items.length;
  const before = list.items[index - 1];
  const after = list.items[index];
  if (list.flow) {
    if (!before) return { from: startOf(after), to: startOf(after), insert: `${inline(value)}, ` };
    const end = endOf(text, before);
    return { from: end, to: end, insert: `, ${inline(value)}` };
  }
  const dash = dashOf(text, before ?? after);
  const indent = column(text, dash);
  if (text.slice(lineStart(text, dash), dash).trim()) return null;
  const item = `${" ".repeat(indent)}- ${pairs(value, indent + 2)}`;
  if (!before) return { from: lineStart(text, dash), to: lineStart(text, dash), insert: `${item}\n` };
  const end = lineEnd(text, endOf(text, before));
  return { from: end, to: end, insert: `\n${item}` };
}

const dashOf = (text: string, item: unknown) => text.lastIndexOf("-", startOf(item) - 1);

function renaming(document: Document.Parsed, path: Path, key: string): Change | null {
  const map = nodeAt(document, path.slice(0, -1));
  const pair = isMap(map) ? pairOf(map, path.at(-1)) : undefined;
  const range = (pair?.key as Node | undefined)?.range;
  return range ? { from: range[0], to: range[1], insert: inline(key) } : null;
}

function moving(text: string, document: Document.Parsed, path: Path, from: number, to: number): Change | null {
  const list = nodeAt(document, path);
  if (!isSeq(list) || !list.items[from] || !list.items[to]) return null;
  if (list.flow) {
    const [low, high] = [Math.min(from, to), Math.max(from, to)];
    const parts = list.items.slice(low, high + 1);
    const texts = parts.map((one) => text.slice(startOf(one), endOf(text, one)));
    const gaps = parts.slice(1).map((one, n) => text.slice(endOf(text, parts[n]), startOf(one)));
    texts.splice(to - low, 0, ...texts.splice(from - low, 1));
    const insert = texts.map((one, n) => one + (gaps[n] ?? "")).join("");
    return { from: startOf(parts[0]), to: endOf(text, parts.at(-1)), insert };
  }
  // Each item with the comments right above it, which are about it; those above the first one may be about the list.
  const starts = list.items.map((one, n) => {
    let start = lineStart(text, dashOf(text, one));
    while (n > 0 && start > 0) {
      const above = lineStart(text, start - 1);
      if (!text.slice(above, start).trimStart().startsWith("#")) break;
      start = above;
    }
    return start;
  });
  const end = lineEnd(text, endOf(text, list.items.at(-1)));
  const chunks = starts.map((start, n) => `${text.slice(start, starts[n + 1] ?? end).replace(/\n$/, "")}\n`);
  chunks.splice(to, 0, ...chunks.splice(from, 1));
  return { from: starts[0] ?? 0, to: end, insert: chunks.join("").replace(/\n$/, "") };
}
