// The one way to the engine: an operation of the registry by its name, with its arguments as they are.
// What the console does, `POST /api/operations/NAME` does for everybody else.

import { heard } from "../words/times";
import type { operations } from "./types";

export type Name = keyof operations & string;

/** What a problem document (RFC 9457) says. */
export interface Fault {
  code: string;
  detail: string;
  hint: string;
  status: number;
  errors: { pointer: string; message: string; where?: string }[];
  details?: Record<string, unknown>;
}

/** Raised for every refusal, with the engine's own words; `code` is "unreachable" when nobody answered. */
export class Problem extends Error {
  constructor(readonly fault: Fault) {
    super(fault.detail);
  }

  get code(): string {
    return this.fault.code;
  }
}

const UNREACHABLE: Fault = {
  code: "unreachable",
  detail: "The server does not answer.",
  hint: "It may be starting again; this page tries by itself.",
  status: 0,
  errors: [],
};

export interface Options {
  tenant?: string;
  signal?: AbortSignal;
  /** One key for one intent: a repeated request with it is done once. */
  key?: string;
}

/** Do an operation. Raises Problem. */
export async function call<T>(name: Name, args: Record<string, unknown>, options: Options = {}): Promise<T> {
  return (await post(`/api/operations/${name}`, args, options)) as T;
}

/** Post JSON and read JSON. Raises Problem. */
export async function post(path: string, body: unknown, { tenant, signal, key }: Options = {}): Promise<unknown> {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (tenant) headers["x-sluice-tenant"] = tenant;
  if (key) headers["idempotency-key"] = key;
  let answer: Response;
  try {
    answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal: signal ?? null });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(UNREACHABLE);
  }
  heard(answer.headers.get("date"));
  const said = await answer.json().catch(() => null);
  if (!answer.ok) throw new Problem(faultOf(said, answer.status));
  return said;
}

function faultOf(said: unknown, status: number): Fault {
  if (said && typeof said === "object" && "code" in said) return { ...UNREACHABLE, ...(said as Fault), status };
  return { ...UNREACHABLE, code: "unexpected", detail: `The server answered with ${status}.`, status };
}
