// The validator of forms: @cfworker/json-schema interprets a schema, where AJV would make code of it.

import { type Schema, Validator } from "@cfworker/json-schema";
import {
  type ErrorSchema,
  ErrorSchemaBuilder,
  type RJSFSchema,
  type RJSFValidationError,
  type ValidationData,
  type ValidatorType,
} from "@rjsf/utils";
import { Exact } from "../words/exact";

const GROUPING = new Set([
  "properties",
  "items",
  "$ref",
  "allOf",
  "anyOf",
  "oneOf",
  "if",
  "then",
  "else",
  "dependentSchemas",
]);

/** A value as numbers alone: what is exact beyond them is judged by the nearest one. */
const numbered = (value: unknown): unknown =>
  value instanceof Exact
    ? Number(value)
    : Array.isArray(value)
      ? value.map(numbered)
      : value && typeof value === "object"
        ? Object.fromEntries(Object.entries(value).map(([key, one]) => [key, numbered(one)]))
        : value;

function errorsOf(schema: RJSFSchema, value: unknown) {
  const found = new Validator(schema as Schema, "2020-12", false).validate(numbered(value ?? {}));
  return found.errors.filter(({ keyword }) => !GROUPING.has(keyword));
}

const partsOf = (pointer: string): string[] =>
  pointer
    .replace(/^#/, "")
    .split("/")
    .slice(1)
    .map((part) => decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~"));

/** The name of a property that is missing; its place is then that property. */
const missing = (keyword: string, text: string): string | undefined =>
  keyword === "required" ? /"([^"]+)"/.exec(text)?.[1] : undefined;

export const validator: ValidatorType = {
  validateFormData(formData, schema): ValidationData<unknown> {
    const builder = new ErrorSchemaBuilder();
    const errors: RJSFValidationError[] = [];
    for (const { keyword, error, instanceLocation } of errorsOf(schema, formData)) {
      const name = missing(keyword, error);
      const path = [...partsOf(instanceLocation), ...(name ? [name] : [])];
      const message = name ? "is required" : error;
      builder.addErrors(message, path);
      errors.push({ name: keyword, message, property: `.${path.join(".")}`, stack: `${path.join(".")} ${message}` });
    }
    return { errors, errorSchema: builder.ErrorSchema };
  },
  toErrorList: (errorSchema?: ErrorSchema) =>
    (errorSchema?.__errors ?? []).map((message) => ({ stack: message, message })),
  isValid(schema, formData, rootSchema): boolean {
    const whole = {
      ...schema,
      $defs: (rootSchema as RJSFSchema).$defs,
      definitions: (rootSchema as RJSFSchema).definitions,
    };
    return new Validator(whole as Schema, "2020-12", true).validate(numbered(formData ?? {})).valid;
  },
  rawValidation(schema, formData) {
    return { errors: errorsOf(schema, formData) as never };
  },
  reset() {},
} as ValidatorType;
