import { expect, test } from "vitest";
import { without } from "../src/api/act";
import { Problem } from "../src/api/client";
import { type Field, shownOf, typedOf } from "../src/pages/Deploy";
import { whyOf } from "../src/pages/runEvents";
import { compare } from "../src/pages/Trigger";
import { nameOf, objectOf, waitsFor } from "../src/pages/triggerForm";
import { validator } from "../src/parts/validator";

const field = (type: string): Field => ({
  field: "f",
  title: "",
  type,
  required: false,
  default: null,
  description: "",
  choices: [],
});

test("what is typed becomes a value of the field's type, and nothing when nothing is", () => {
  expect(typedOf(field("integer"), "7")).toBe(7);
  expect(typedOf(field("boolean"), "false")).toBe(false);
  expect(typedOf(field("string"), "7")).toBe("7");
  expect(typedOf(field("string"), "")).toBeUndefined();
  expect(shownOf(null)).toBe("");
  expect(shownOf(false)).toBe("false");
});

const schema = {
  type: "object" as const,
  properties: { env: { type: "string" as const }, depth: { type: "integer" as const, minimum: 1 } },
  required: ["env"],
  additionalProperties: false,
};

test("a rerun names what is new and what is not known any more", () => {
  expect(compare(schema, { depth: 2, old: 1 })).toEqual({ unknown: ["old"], fresh: ["env"] });
});

test("a fault is told at its field, a missing one at the field that is missing", () => {
  const { errorSchema } = validator.validateFormData({ depth: 0 }, schema, undefined, undefined, undefined) as {
    errorSchema: Record<string, { __errors: string[] }>;
  };
  expect(errorSchema.env?.__errors).toEqual(["is required"]);
  expect(errorSchema.depth?.__errors?.[0]).toMatch(/minimum|less/i);
});

test("a condition decides which fields there are", () => {
  const branch = { properties: { kind: { const: "b" } }, required: ["kind"] };
  expect(validator.isValid(branch, { kind: "b" }, {})).toBe(true);
  expect(validator.isValid(branch, { kind: "a" }, {})).toBe(false);
});

test("what was said of a field goes when the field is another, and all of it when nothing is left", () => {
  const errors = ["/slug", "/params/env/0", "/depth"].map((pointer) => ({ pointer, message: "is wrong" }));
  const problem = new Problem({ code: "invalid_params", detail: "", hint: "", status: 422, errors });
  expect(without(problem, ["other"])).toBe(problem);
  expect(without(problem, ["env"])?.fault.errors.map(({ pointer }) => pointer)).toEqual(["/slug", "/depth"]);
  expect(without(problem, ["slug", "env", "depth"])).toBeNull();
  expect(without(problem)).toBeNull();
  const lost = new Problem({ code: "unreachable", detail: "", hint: "", status: 0, errors: [] });
  expect(without(lost, ["env"])).toBe(lost);
});

test("a trigger goes by its slug without a name, and its schema is an object", () => {
  expect(nameOf({ slug: "check", display_name: " " })).toBe("check");
  expect(objectOf('{"a": 1}')).toEqual({ a: 1 });
  for (const text of ["", "{oops", "[]", "null", "7"]) expect(() => objectOf(text)).toThrow(SyntaxError);
  expect(waitsFor("j", false)).toMatch("fails at once");
  expect(waitsFor("j", true)).toMatch("waits for it");
});

test("why a run failed is what the engine says, else what its job does", () => {
  expect(whyOf({ error_message: "No job", hint: "Deploy it" })).toEqual({ message: "No job", hint: "Deploy it" });
  expect(whyOf({ trigger_response: { error_message: "no disk" } })).toEqual({ message: "no disk", hint: "" });
  expect(whyOf({ error_message: 7 })).toEqual({ message: "", hint: "" });
});
