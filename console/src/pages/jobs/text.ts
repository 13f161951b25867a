// The text of a job, and what differs between two events.

import { parse, stringify } from "yaml";
import type { Schemas } from "../../api/client";
import { shown } from "../../words/json";

type Job = Schemas["Job"];

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const NEW_JOB = `# What this job does.
name: my-job
input:
  echo:
    event: '{"say": "hello"}'
    json: true
    interval: 5s
output:
  print: STDOUT
`;

/** A document as YAML. */
export const yamlOf = (document: unknown): string =>
  stringify(document, { flowCollectionPadding: false, lineWidth: 0 });

/** What an edit of a job begins with: its draft, else what was staged as it was written. */
export const textOf = (job: Pick<Job, "draft" | "document" | "written">): string =>
  job.draft?.document ?? yamlOf(job.written ?? job.document ?? {});

/** Whether the input of a document makes events by itself; false for a text that cannot be read. */
export function echoes(text: string): boolean {
  try {
    const document: unknown = parse(text);
    return isMap(document) && isMap(document.input) && "echo" in document.input;
  } catch {
    return false; // the faults beside the text say so
  }
}

/** How a job is, in one word. */
export function stateOf(job: { workloads: { state: string; health?: string }[]; draft: unknown; version: unknown }) {
  const states = job.workloads.map(({ health, state }) => health ?? state);
  return states.find((state) => state !== "healthy") ?? states[0] ?? (job.version === null ? "draft" : "staged");
}

export interface Difference {
  path: string;
  before?: string;
  after?: string;
}

/** What is not the same in two events, value by value; lists count as one value. */
export function differencesOf(before: unknown, after: unknown, path = ""): Difference[] {
  if (isMap(before) && isMap(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return keys.flatMap((key) => {
      const place = path ? `${path}.${key}` : key;
      if (!(key in before)) return [{ path: place, after: shown(after[key]) }];
      if (!(key in after)) return [{ path: place, before: shown(before[key]) }];
      return differencesOf(before[key], after[key], place);
    });
  }
  return JSON.stringify(before) === JSON.stringify(after)
    ? []
    : [{ path: path || "the event", before: shown(before), after: shown(after) }];
}
