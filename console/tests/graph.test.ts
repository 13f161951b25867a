import { expect, test } from "vitest";
import { place } from "../src/graph/layout";
import { figuresOf, graphOf, sampleOf, statesOf, within } from "../src/graph/model";

const source = {
  nodes: [
    { id: "read", use: "blueprint:file-reader" },
    { id: "write", use: "blueprint:file-writer" },
  ],
  edges: [{ kind: "channel" as const, from: "read", to: "write", channel: "lines" }],
};
const job = (name: string, more: object) => ({
  job: name,
  metrics: { events_in: 0, events_out: 0, errors: 0, ...more },
});

test("a step that only its workloads know is drawn too, and an edge to nowhere is not", () => {
  const drawn = graphOf(
    { ...source, edges: [...source.edges, { kind: "channel" as const, from: "read", to: "gone" }] },
    [{ step: "old", job: "d--old", state: "running" }],
  );
  expect(drawn.nodes.map(({ id }) => id)).toEqual(["read", "write", "old"]);
  expect(drawn.edges).toHaveLength(1);
});

test("a step is as well as its worst workload", () => {
  const states = statesOf([
    { step: "read", job: "a", state: "running", health: "healthy" },
    { step: "read", job: "b", state: "stopped", health: "failing", reason: "exit 1" },
  ]);
  expect(states.get("read")).toEqual({ up: 1, wanted: 2, health: "failing", reason: "exit 1" });
});

test("rates are told between two samples, and not from a counter that went back or that is new", () => {
  const steps = new Map([
    ["d--read", "read"],
    ["d--write", "write"],
  ]);
  const before = sampleOf([job("d--read", { events_out: 100 })], steps, 0);
  const now = sampleOf([job("d--read", { events_out: 150 }), job("d--write", { events_out: 9 })], steps, 10_000);
  expect(figuresOf(before, now).get("read")?.out).toBe(5);
  expect(figuresOf(before, now).get("write")?.out).toBeNull();
  expect(figuresOf(now, before).get("read")?.out).toBeNull();
  expect(figuresOf(undefined, now).get("read")?.out).toBeNull();
  expect(figuresOf(before, { ...before, at: before.at + 9_000 }).get("read")?.out).toBeNull();
  expect(figuresOf(before, { ...before, at: before.at + 10_000 }).get("read")?.out).toBe(0);
});

test("events of a transport are not counted twice, what it refuses is counted", () => {
  const steps = new Map([
    ["d--read", "read"],
    ["d--read--lines-writer", "read"],
  ]);
  const rows = [
    job("d--read", { events_out: 10 }),
    job("d--read--lines-writer", { events_out: 10, refused_by_output: 3 }),
  ];
  expect(sampleOf(rows, steps, 0).totals.get("read")).toMatchObject({ out: 10, refused: 3 });
});

test("samples are kept as long as rates are told over them", () => {
  const at = (ms: number) => ({ at: ms, totals: new Map() });
  const kept = within([0, 2, 4, 6, 8].map(at), 3);
  expect(kept.map((one) => one.at)).toEqual([4, 6, 8]);
  expect(within([at(5)], 3)).toHaveLength(1);
});

test("what comes later stands further right, and nothing stands on another node", () => {
  const places = place({
    nodes: ["a", "b", "c"],
    edges: [
      ["a", "b"],
      ["a", "c"],
      ["a", "b"],
    ],
  });
  expect(places.b?.x).toBeGreaterThan(places.a?.x ?? 0);
  expect(Math.abs((places.b?.y ?? 0) - (places.c?.y ?? 0))).toBeGreaterThanOrEqual(60);
});
