// Ways through a graph: what is up- and downstream, where an arrow leads, and how a large one is folded. Pure.

import type { Places } from "./layout";
import type { Graph, StepFigures, StepNode, StepState } from "./model";

/** A step with everything that flows into it and out of it, however far. */
export function related({ edges }: Graph, step: string): Set<string> {
  const found = new Set([step]);
  const follow = (next: (at: string) => string[]) => {
    const seen = new Set([step]);
    const open = [step];
    for (let at = open.pop(); at !== undefined; at = open.pop())
      for (const one of next(at))
        if (!seen.has(one)) {
          seen.add(one);
          found.add(one);
          open.push(one);
        }
  };
  const out = new Map<string, string[]>();
  const into = new Map<string, string[]>();
  for (const { from, to } of edges) {
    out.set(from, [...(out.get(from) ?? []), to]);
    into.set(to, [...(into.get(to) ?? []), from]);
  }
  follow((at) => out.get(at) ?? []);
  follow((at) => into.get(at) ?? []);
  return found;
}

/** Where an arrow key leads from a step: along an edge, or to the next one above or below; undefined: nowhere. */
export function beside(graph: Graph, places: Places, from: string, key: string): string | undefined {
  const here = places[from];
  if (!here) return undefined;
  const nearest = (ids: string[]) =>
    ids
      .filter((id) => id !== from && places[id])
      .map((id) => [id, Math.abs((places[id]?.x ?? 0) - here.x) + Math.abs((places[id]?.y ?? 0) - here.y)] as const)
      .sort(([, a], [, b]) => a - b)[0]?.[0];
  if (key === "ArrowRight") return nearest(graph.edges.filter((edge) => edge.from === from).map(({ to }) => to));
  if (key === "ArrowLeft") return nearest(graph.edges.filter((edge) => edge.to === from).map((edge) => edge.from));
  if (key !== "ArrowUp" && key !== "ArrowDown") return undefined;
  const up = key === "ArrowUp";
  const across = Object.keys(places).filter((id) => {
    const y = places[id]?.y ?? 0;
    return up ? y < here.y : y > here.y;
  });
  const inRank = across.filter((id) => Math.abs((places[id]?.x ?? 0) - here.x) < 1);
  return nearest(inRank.length ? inRank : across);
}

export const LARGE = 300; // nodes above which a graph is folded
const GROUP = "group ";

export interface Folded {
  graph: Graph;
  /** Step -> the group that hides it. */
  into: ReadonlyMap<string, string>;
}

export const isGroup = (id: string): boolean => id.startsWith(GROUP);

/** What a group is of: the blueprint of its steps. */
export const groupName = (id: string): string => id.slice(GROUP.length).replace(/^blueprint:/, "") || "steps";

/** A large graph with the steps of one blueprint as one node, but those of the groups that are `open`. It depends on the
 * structure and on what somebody opened alone, so that no figure moves anything. */
export function folded(graph: Graph, open: ReadonlySet<string>, large = LARGE): Folded {
  const into = new Map<string, string>();
  if (graph.nodes.length <= large || open.has("*")) return { graph, into };
  const members = new Map<string, string[]>();
  for (const { id, use } of graph.nodes) {
    const group = `${GROUP}${use ?? ""}`;
    if (!open.has(group)) members.set(group, [...(members.get(group) ?? []), id]);
  }
  for (const [group, ids] of members) if (ids.length > 1) for (const id of ids) into.set(id, group);
  const shown = (id: string) => into.get(id) ?? id;
  const nodes = new Map<string, StepNode>();
  for (const node of graph.nodes) {
    const id = shown(node.id);
    if (!nodes.has(id)) nodes.set(id, id === node.id ? node : { id, use: node.use ?? "" });
  }
  const edges = new Map<string, { edge: Graph["edges"][number]; many: number }>();
  for (const edge of graph.edges) {
    const [from, to] = [shown(edge.from), shown(edge.to)];
    if (from === to) continue;
    const whole = from === edge.from && to === edge.to;
    const key = whole ? `${from} ${to} ${edge.channel ?? edge.tag}` : `${from} ${to}`;
    const many = (edges.get(key)?.many ?? 0) + 1;
    const named = whole ? edge : { kind: edge.kind, from, to, channel: many > 1 ? `${many} channels` : edge.channel };
    edges.set(key, { edge: named as Graph["edges"][number], many });
  }
  return { graph: { nodes: [...nodes.values()], edges: [...edges.values()].map(({ edge }) => edge) }, into };
}

const WORST = ["quarantined", "failing", "down", "gone", "degraded", "warning", "progressing", "healthy"];

/** How each group is: as its worst step, with how many of all are up. */
export function foldedStates(states: ReadonlyMap<string, StepState>, into: Folded["into"]): Map<string, StepState> {
  const found = new Map<string, StepState>();
  for (const [step, state] of states) {
    const group = into.get(step);
    if (!group) {
      found.set(step, state);
      continue;
    }
    const now = found.get(group);
    const worse = !now || WORST.indexOf(state.health) < WORST.indexOf(now.health);
    found.set(group, {
      up: (now?.up ?? 0) + state.up,
      wanted: (now?.wanted ?? 0) + state.wanted,
      health: worse ? state.health : now.health,
      reason: worse ? state.reason : now.reason,
    });
  }
  return found;
}

const sum = (a: number | null, b: number | null) => (a === null || b === null ? null : a + b);
const most = (a: number | null, b: number | null) => (a === null ? b : b === null ? a : Math.max(a, b));

/** What each group does: the sums of its steps, and the oldest of them; a sum is not known when a part of it is not. */
export function foldedFigures(
  figures: ReadonlyMap<string, StepFigures>,
  into: Folded["into"],
): Map<string, StepFigures> {
  const found = new Map<string, StepFigures>();
  for (const [step, one] of figures) {
    const id = into.get(step) ?? step;
    const now = found.get(id);
    found.set(
      id,
      now
        ? {
            in: sum(now.in, one.in),
            out: sum(now.out, one.out),
            refused: now.refused + one.refused,
            errors: now.errors + one.errors,
            errorRate: sum(now.errorRate, one.errorRate),
            lag: most(now.lag, one.lag),
            waiting: most(now.waiting, one.waiting),
          }
        : one,
    );
  }
  return found;
}
