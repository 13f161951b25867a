import { expect, test } from "vitest";
import { drawnOf } from "../src/apps/picture";
import { actionsOf, type Change } from "../src/graph/plan";

const changes: Change[] = [
  { kind: "job", id: "demo--read", action: "update", where: "local" },
  { kind: "job", id: "demo--read--q--publish", action: "remove" },
  { kind: "job", id: "demo--write", action: "unchanged" },
  { kind: "job", id: "demo2--read", action: "remove" },
  { kind: "placement", id: "demo--keep", action: "move" },
  { kind: "channel", id: "q", action: "create", where: "read, other -> write" },
];

test("a step is marked with what happens to its own job first", () => {
  expect([...actionsOf(changes, "demo")]).toEqual([
    ["read", "update"],
    ["keep", "move"],
  ]);
});

test("the picture of a plan adds what only the changes know", () => {
  const source = { nodes: [{ id: "read", use: "blueprint:in" }], edges: [] };
  const { nodes, edges } = drawnOf("demo", changes, source);
  const marked = nodes.map(({ id, action }) => `${id} ${action}`.trim());
  expect(marked).toEqual(["read update", "write", "keep move", "other"]);
  expect(edges.map(({ from, to, action }) => `${from} ${to} ${action}`)).toEqual([
    "read write create",
    "other write create",
  ]);
});
