import { expect, test, vi } from "vitest";
import { Board } from "../src/graph/board";
import { place } from "../src/graph/layout";
import type { StepFigures } from "../src/graph/model";
import { beside, folded, foldedFigures, foldedStates, related } from "../src/graph/walking";
import { meant } from "../src/keys/keys";
import { edited } from "../src/pages/runEvents";
import { differences, faultsOf } from "../src/pages/triggerForm";
import { strokes } from "../src/parts/Spark";

const channel = (from: string, to: string) => ({ kind: "channel" as const, from, to, channel: `${from}-${to}` });
const lines = (many: number) => {
  const nodes = [];
  const edges = [];
  for (let n = 0; n < many; n++) {
    nodes.push({ id: `read${n}`, use: "blueprint:reader" }, { id: `write${n}`, use: "blueprint:writer" });
    edges.push(channel(`read${n}`, `write${n}`));
  }
  return { nodes, edges };
};

test("what is related to a step flows into it or out of it, and not beside it", () => {
  const graph = { nodes: [], edges: [channel("a", "b"), channel("b", "c"), channel("a", "x"), channel("y", "c")] };
  expect([...related(graph, "b")].sort()).toEqual(["a", "b", "c"]);
  expect([...related({ nodes: [], edges: [channel("a", "b"), channel("b", "a")] }, "a")].sort()).toEqual(["a", "b"]);
});

test("arrows lead along edges, and up and down within a rank", () => {
  const edges = [channel("a", "b"), channel("a", "c")];
  const places = place({
    nodes: ["a", "b", "c"],
    edges: [
      ["a", "b"],
      ["a", "c"],
    ],
  });
  const graph = { nodes: [], edges };
  const right = beside(graph, places, "a", "ArrowRight");
  expect(["b", "c"]).toContain(right);
  const other = right === "b" ? "c" : "b";
  const ways = ["ArrowUp", "ArrowDown"].map((key) => beside(graph, places, right ?? "", key));
  expect(ways).toContain(other);
  expect(beside(graph, places, other, "ArrowLeft")).toBe("a");
  expect(beside(graph, places, "a", "ArrowLeft")).toBeUndefined();
});

test("a large graph is folded by blueprint, and opened group by group; a small one is left alone", () => {
  const graph = lines(200);
  const { graph: small, into } = folded(graph, new Set());
  expect(small.nodes.map(({ id }) => id)).toEqual(["group blueprint:reader", "group blueprint:writer"]);
  expect(small.edges).toEqual([
    { kind: "channel", from: "group blueprint:reader", to: "group blueprint:writer", channel: "200 channels" },
  ]);
  expect(into.size).toBe(400);
  expect(folded(graph, new Set(["group blueprint:reader"])).graph.nodes).toHaveLength(201);
  expect(folded(graph, new Set(["*"])).graph).toBe(graph);
  expect(folded(lines(3), new Set()).into.size).toBe(0);
});

const figures = (more: Partial<StepFigures>): StepFigures => ({
  in: 1,
  out: 1,
  refused: 0,
  errors: 0,
  errorRate: 0,
  lag: null,
  waiting: null,
  ...more,
});

test("a group is as its worst step and does what its steps do; what is not known of one is not known of it", () => {
  const into = new Map([
    ["a", "g"],
    ["b", "g"],
  ]);
  const well = { up: 1, wanted: 1, health: "healthy", reason: "" };
  const states = foldedStates(
    new Map([
      ["a", well],
      ["b", { ...well, up: 0, health: "failing", reason: "no" }],
    ]),
    into,
  );
  expect(states.get("g")).toEqual({ up: 1, wanted: 2, health: "failing", reason: "no" });
  const both = foldedFigures(
    new Map([
      ["a", figures({ out: 2, lag: 5 })],
      ["b", figures({ out: null, lag: 9 })],
    ]),
    into,
  );
  expect(both.get("g")).toMatchObject({ in: 2, out: null, lag: 9, waiting: null });
});

test("the board hands out the same object while nothing is another, so that nothing is drawn anew", () => {
  const board = new Board();
  const heard = vi.fn();
  board.subscribe(heard);
  board.tell(new Map(), new Map([["a", figures({})]]));
  const first = board.figuresOf("a");
  board.tell(new Map(), new Map([["a", figures({})]]));
  expect(board.figuresOf("a")).toBe(first);
  expect(heard).toHaveBeenCalledTimes(2);
});

test("keys mean something where nobody types, and Ctrl+K everywhere", () => {
  const key = (text: string, more = {}) => ({ key: text, ctrlKey: false, metaKey: false, altKey: false, ...more });
  expect(meant(key("g"), "", true)).toEqual({ do: "wait" });
  expect(meant(key("d"), "g", true)).toEqual({ do: "go", to: "/deployments" });
  expect(meant(key("d"), "", true)).toBeNull();
  expect(meant(key("d"), "g", false)).toBeNull();
  expect(meant(key("k", { ctrlKey: true }), "", false)).toEqual({ do: "palette" });
  expect(meant(key("?"), "", true)).toEqual({ do: "help" });
});

test("a revision names what differs, and what is left out is as its default", () => {
  const old = { display_name: "A", tags: [], publication: { mcp: true, ui_user: false } };
  const now = { display_name: "B", publication: { mcp: true }, description: "" };
  expect(differences(old, now)).toEqual([{ path: "display_name", old: "A", new: "B" }]);
  const errors = [
    { pointer: "/slug", message: "no slug" },
    { pointer: "/parameter_schema/type", message: "must be object" },
  ];
  expect(faultsOf(errors)).toEqual({ slug: "no slug", parameter_schema: "type: must be object" });
});

test("an edited rerun sends what is another than before, and names what is left out", () => {
  expect(edited({ a: 1, b: [1], c: 3 }, { a: 2, b: [1] })).toEqual({ params: { a: 2 }, unset: ["c"] });
});

test("a line has a gap where nothing is known", () => {
  expect(strokes([1, null, 2], 10, 10)).toEqual(["0.0,5.0 0.0,5.0", "10.0,1.0 10.0,1.0"]);
  expect(strokes([null, null], 10, 10)).toEqual([]);
});
