// The one way to the engine: an operation of the registry by its name, with its arguments as they are.
// What the console does, `POST /api/operations/NAME` does for everybody else.

import { read } from "../words/exact";
import { heard } from "../words/times";
import type { components, operations } from "./types";

export type Name = keyof operations & string;
type Json<T> = [T] extends [never] ? unknown : T extends { content: { "application/json": infer B } } ? B : unknown;
type Part<O, K extends string> = O extends { [key in K]?: infer P } ? NonNullable<P> : unknown;
type Known<P> = [P] extends [never] ? unknown : P;

/** The arguments of an operation, wherever HTTP would carry them. */
export type Args<N extends Name> = Known<Part<operations[N]["parameters"], "path">> &
  Known<Part<operations[N]["parameters"], "query">> &
  Json<Part<operations[N], "requestBody">>;

/** What an operation answers with. */
export type Result<N extends Name> = operations[N]["responses"] extends { 200: infer R } | { 201: infer R }
  ? Json<R>
  : never;

/** A row of what an operation lists. */
export type RowOf<N extends Name> = Result<N> extends { items: (infer R)[] } ? R : never;

export type Schemas = components["schemas"];

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

export const TENANT = "x-sluice-tenant";

export interface Options {
  tenant?: string;
  signal?: AbortSignal;
  /** One key for one intent: a repeated request with it is done once. */
  key?: string;
}

/** Do an operation. Raises Problem. */
export async function call<N extends Name>(name: N, args: Args<N>, options: Options = {}): Promise<Result<N>> {
  return (await post(`/api/operations/${name}`, args, options)) as Result<N>;
}

/** Post JSON and read JSON. Raises Problem. */
export async function post(path: string, body: unknown, { tenant, signal, key }: Options = {}): Promise<unknown> {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (tenant) headers[TENANT] = tenant;
  if (key) headers["idempotency-key"] = key;
  const answer = await send(path, { method: "POST", headers, body: JSON.stringify(body), signal: signal ?? null });
  return read(await answer.text());
}

/** How people can sign in besides with keys and links. Raises Problem. */
export async function signInMethods(): Promise<{ provider: string | null }> {
  const answer = await send("/api/login/methods", {});
  return (await answer.json()) as { provider: string | null };
}

const KEPT_MS = 60_000; // a browser may begin to read it later than the click

/** Leave what a path answers with in a file of the browser's. Raises Problem. */
export async function save(path: string, name: string, tenant: string): Promise<void> {
  const answer = await send(path, { headers: { [TENANT]: tenant } });
  leave(await answer.blob(), name);
}

/** Leave something in a file of the browser's. */
export function leave(content: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}

async function send(path: string, request: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, request);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(UNREACHABLE);
  }
  heard(answer.headers.get("date"));
  if (!answer.ok) throw new Problem(faultOf(await answer.json().catch(() => null), answer.status));
  return answer;
}

function faultOf(said: unknown, status: number): Fault {
  if (said && typeof said === "object" && "code" in said) return { ...UNREACHABLE, ...(said as Fault), status };
  return { ...UNREACHABLE, code: "unexpected", detail: `The server answered with ${status}.`, status };
}
