// Completion: the place by indentation, and what a schema has there.

import { expect, test } from "vitest";
import { offered, placeAt } from "../src/editor/completing";

const ROOT = {
  properties: {
    name: { type: "string" },
    input: { anyOf: [{ properties: { echo: { description: "Makes events.\n\nAt times.", $ref: "#/$defs/Echo" } } }] },
    actions: { items: { anyOf: [{ properties: { add: { properties: { "output-fields": {} } }, drop: {} } }] } },
  },
  $defs: { Echo: { properties: { event: {}, json: { type: "boolean" }, mode: { enum: ["once", "often"] } } } },
};
const labels = (text: string) => offered(placeAt(text), ROOT).map(({ label }) => label);

test("the place is read off the indentation", () => {
  expect(placeAt("input:\n  echo:\n    event: x\n    js")).toEqual({
    path: ["input", "echo"],
    value: null,
    typed: "js",
  });
  expect(placeAt("actions:\n  - add:\n      a: 1\n  - dr")).toEqual({
    path: ["actions", "-"],
    value: null,
    typed: "dr",
  });
  expect(placeAt("actions:\n- add:\n    out")).toEqual({ path: ["actions", "-", "add"], value: null, typed: "out" });
  expect(placeAt("input:\n  # said\n\n  echo:\n    json: t")).toEqual({
    path: ["input", "echo"],
    value: "json",
    typed: "t",
  });
  expect(placeAt("input:\n  echo:\n    x: 1\nna")).toEqual({ path: [], value: null, typed: "na" });
});

test("keys and words are those of the schema at the place", () => {
  expect(labels("na")).toEqual(["name", "input", "actions"]);
  expect(labels("input:\n  ")).toEqual(["echo"]);
  expect(labels("input:\n  echo:\n    ")).toEqual(["event", "json", "mode"]);
  expect(labels("input:\n  echo:\n    mode: ")).toEqual(["once", "often"]);
  expect(labels("input:\n  echo:\n    json: ")).toEqual(["true", "false"]);
  expect(labels("actions:\n  - ")).toEqual(["add", "drop"]);
  expect(labels("nothing:\n  ")).toEqual([]);
  expect(offered(placeAt("input:\n  e"), ROOT)[0]?.info).toBe("Makes events.");
});
