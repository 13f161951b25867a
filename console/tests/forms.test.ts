import { expect, test } from "vitest";
import { type Field, shownOf, typedOf } from "../src/pages/Deploy";
import { compare } from "../src/pages/Trigger";
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
