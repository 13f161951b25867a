// A trigger as its form has it, and the places of what is wrong with it. Pure.

import type { Args, Fault } from "../api/client";
import { read } from "../words/exact";

/** What is published: the form and the JSON are views of it. */
export type Definition = Args<"trigger_publish">;

export const EMPTY: Definition = {
  slug: "",
  display_name: "",
  description: "",
  target_job_name: "",
  parameter_schema: { type: "object", properties: {} },
  publication: { mcp: false, ui_admin: true, ui_user: false },
};

export interface Difference {
  path: string;
  old?: unknown;
  new?: unknown;
}

/** What a trigger is called: one without a name goes by its slug. */
export const nameOf = ({ display_name, slug }: { display_name: string; slug: string }): string =>
  display_name.trim() || slug;

/** Raises SyntaxError. */
export function objectOf(text: string): Record<string, unknown> {
  const value = read(text);
  if (!isMap(value)) throw new SyntaxError("it is no object");
  return value;
}

/** Whether somebody would do a run now. Where no job is deployed the engine refuses it; where one is, it waits. */
export const waitsFor = (job: string, deployed: boolean): string =>
  deployed
    ? `Job ${job} is deployed and not up: a run waits for it, or ends as timed out.`
    : `No job ${job} is deployed: a run fails at once.`;

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** What differs, by the smallest places that do. Missing and empty are alike: what is left out is the default. */
export function differences(old: unknown, now: unknown, path = ""): Difference[] {
  if (isMap(old) && isMap(now)) {
    const keys = new Set([...Object.keys(old), ...Object.keys(now)]);
    return [...keys].flatMap((key) => differences(old[key], now[key], path ? `${path}.${key}` : key));
  }
  if (JSON.stringify(old) === JSON.stringify(now) || (nothing(old) && nothing(now))) return [];
  return [{ path, ...(old === undefined ? {} : { old }), ...(now === undefined ? {} : { new: now }) }];
}

const nothing = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === "" ||
  value === false ||
  (Array.isArray(value) && !value.length) ||
  (isMap(value) && !Object.keys(value).length);

/** What the server said of each field, by the key at the top; deeper places are named in the text. */
export function faultsOf(errors: Fault["errors"]): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { pointer, message } of errors) {
    const [, key = "", ...rest] = pointer.split("/");
    const text = rest.length ? `${rest.join(".")}: ${message}` : message;
    found[key] = found[key] ? `${found[key]}; ${text}` : text;
  }
  return found;
}
