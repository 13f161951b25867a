// Values as people type and read them.

import { Problem } from "../api/client";
import { visible } from "./code";
import { read } from "./exact";

/** A value on one line; a text stands as it is. */
export const shown = (value: unknown): string => (typeof value === "string" ? value : (JSON.stringify(value) ?? ""));

/** The same as code to look at. */
export const asCode = (value: unknown): string => visible(shown(value));

/** The JSON that was typed. Raises Problem, which names the field. */
export function parsed(text: string, field: string): unknown {
  try {
    return read(text);
  } catch (error) {
    throw new Problem({
      code: "invalid_json",
      status: 0,
      detail: `${field} is no JSON: ${(error as Error).message}`,
      hint: "",
      errors: [],
    });
  }
}
