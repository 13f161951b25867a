// JSON whose integers keep all their digits.

/** An integer that a number of the browser cannot hold: it is shown, and sent again, as it was written. */
export class Exact {
  constructor(readonly text: string) {}

  toString(): string {
    return this.text;
  }

  toJSON(): unknown {
    return rawJSON?.(this.text) ?? Number(this.text);
  }
}

// Of ECMAScript 2026, which the types do not know yet; where a browser has not got it, numbers are as near as it can.
const { rawJSON } = JSON as { rawJSON?: (text: string) => unknown };
type Reviver = (key: string, value: unknown, context?: { source?: string }) => unknown;
const exact: Reviver = (_, value, context) =>
  Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "")
    ? new Exact(context?.source ?? "")
    : value;

/** What a text says as JSON, with all digits of its integers. Raises SyntaxError. */
export const read = (text: string): unknown =>
  rawJSON && /\d{16}/.test(text)
    ? JSON.parse(text, exact as (key: string, value: unknown) => unknown)
    : JSON.parse(text);
