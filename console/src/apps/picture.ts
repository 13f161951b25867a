// The picture of a plan: the graph of its source, placed as in the console, with what comes, changes, moves and goes.

import { HEIGHT, place, WIDTH } from "../graph/layout";
import { actionsOf, type Change, stepOf } from "../graph/plan";
import { make } from "./elements";

export const SIGNS: Record<string, string> = { create: "+", update: "~", remove: "−", move: "→" };
const MARGIN = 8;
const LEAST = 0.65; // smaller than that, it is scrolled

export interface Source {
  nodes: { id: string; use?: string | null }[];
  edges: { from: string; to: string; channel?: string; tag?: string }[];
}

interface Drawn {
  nodes: { id: string; detail: string; action: string }[];
  edges: { from: string; to: string; label: string; action: string }[];
}

/** The graph of the source, marked with the changes; what only the changes know is added. */
export function drawnOf(name: string, changes: Change[], source: Source | null): Drawn {
  const actions = actionsOf(changes, name);
  const nodes = new Map<string, Drawn["nodes"][number]>();
  const edges = new Map<string, Drawn["edges"][number]>();
  const node = (id: string) => {
    const made = nodes.get(id) ?? { id, detail: "", action: actions.get(id) ?? "" };
    nodes.set(id, made);
    return made;
  };
  const edge = (from: string, to: string, label: string, action: string) => {
    const key = JSON.stringify([from, to, label]);
    edges.set(key, { from: node(from).id, to: node(to).id, label, action: action || edges.get(key)?.action || "" });
  };
  for (const { id, use } of source?.nodes ?? []) node(id).detail = use ?? "";
  for (const { from, to, channel, tag } of source?.edges ?? []) edge(from, to, channel ?? tag ?? "", "");
  for (const { kind, id, action, where = "" } of changes) {
    const step = stepOf(id, name);
    if (kind === "placement" && action === "move" && step) node(step);
    else if (kind === "job" && step) {
      const one = node(step);
      one.detail ||= where;
    } else if (kind === "channel") {
      const [from, to, more] = where.split(" -> ");
      if (from === undefined || to === undefined || more !== undefined) continue;
      for (const one of from.split(", ")) for (const other of to.split(", ")) edge(one, other, id, action);
    }
  }
  return { nodes: [...nodes.values()], edges: [...edges.values()] };
}

const cut = (text: string, most: number) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

export function picture({ nodes, edges }: Drawn) {
  if (!nodes.length) return null;
  const places = place({ nodes: nodes.map(({ id }) => id), edges: edges.map(({ from, to }) => [from, to]) });
  const at = (id: string) => places[id] ?? { x: 0, y: 0 };
  const width = Math.max(...nodes.map(({ id }) => at(id).x)) + WIDTH + MARGIN;
  const height = Math.max(...nodes.map(({ id }) => at(id).y)) + HEIGHT + MARGIN;
  const lines = edges.map(({ from, to, label, action }) => {
    const [a, b] = [at(from), at(to)];
    const [x1, y1, x2, y2] = [a.x + WIDTH, a.y + HEIGHT / 2, b.x, b.y + HEIGHT / 2];
    const bend = Math.max(40, Math.abs(x2 - x1) / 2);
    // Where lines part, a name stands at the end of its own line.
    const parts = edges.some((other) => other.from === from && other.to !== to);
    const [x, y, anchor] = parts ? [x2 - 12, y2 - 6, "end"] : [(x1 + x2) / 2, (y1 + y2) / 2 - 5, "middle"];
    const line = `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}l-7 -4m7 4l-7 4`;
    return make(
      "g",
      {},
      make("path", { class: action, d: line }),
      make("text", { class: "small label", "text-anchor": anchor, x, y }, cut(label, 14)),
    );
  });
  const boxes = nodes.map(({ id, action, detail }) => {
    const { x, y } = at(id);
    return make(
      "g",
      { class: action || "unchanged", "data-node": id },
      make("title", {}, `${id}: ${action || "unchanged"}`),
      make("rect", { x, y, width: WIDTH, height: HEIGHT, rx: 4 }),
      make("text", { x: x + 10, y: y + 24 }, `${SIGNS[action] ?? " "} ${cut(id, 24)}`),
      make("text", { class: "small", x: x + 10, y: y + 42 }, cut(detail, 32)),
    );
  });
  const size = { width, height, viewBox: `0 0 ${width} ${height}` };
  const drawn = make("svg", { ...size, role: "img", "aria-label": "Graph of the plan" }, ...lines, ...boxes);
  drawn.style.minWidth = `${Math.round(width * LEAST)}px`;
  return make("div", { class: "picture" }, drawn);
}
