// One stream of what changes (GET /api/notices). A notice names what to ask anew; it carries nothing that is shown, so
// one that is lost costs nothing but time: after every gap all that is on the page is asked anew.

import type { QueryClient } from "@tanstack/react-query";
import { TENANT } from "../api/client";

export type Liveness = "connecting" | "live" | "stale" | "out";

interface Notice {
  kind: string;
  data: Record<string, unknown>;
}

/** Which reads a kind of notice is about, by the beginning of their names. */
export const ABOUT: Record<string, string[]> = {
  registry: ["trigger_"],
  invocation: ["trigger_invocation_"],
  deployment: ["deployment_", "plan_", "explain"],
  job: ["workload_", "job_", "deployment_", "worker_", "schedule_", "trigger_get", "trigger_list"],
  workflow: ["workflow_", "catalog_"],
  progress: ["deployment_get"],
};
const GATHER_MS = 250; // a burst of notices is one question
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const SILENT_MS = 40_000; // the server says something each 15 seconds

/** Follow until `signal` ends it; hidden pages do not follow, since a browser has six connections for all its tabs. */
export async function follow(
  client: QueryClient,
  tenant: string,
  tell: (now: Liveness) => void,
  signal: AbortSignal,
): Promise<void> {
  let wait = FIRST_WAIT_MS;
  const kinds = new Set<string>();
  const ask = () => {
    const names = [...kinds].flatMap((kind) => ABOUT[kind] ?? []);
    kinds.clear();
    void client.invalidateQueries({
      predicate: ({ queryKey }) => names.some((name) => String(queryKey[1]).startsWith(name)),
    });
  };
  while (!signal.aborted) {
    if (document.hidden) await visible(signal);
    if (signal.aborted) break;
    const connection = new AbortController();
    const end = () => connection.abort();
    const hide = () => document.hidden && end();
    signal.addEventListener("abort", end);
    document.addEventListener("visibilitychange", hide);
    let silent = setTimeout(end, SILENT_MS);
    try {
      const answer = await fetch("/api/notices", { headers: { [TENANT]: tenant }, signal: connection.signal });
      if (answer.status === 401) return tell("out");
      if (!answer.ok || !answer.body) throw new Error(String(answer.status));
      tell("live");
      wait = FIRST_WAIT_MS;
      void client.invalidateQueries(); // what happened while nobody listened
      for await (const notice of events(answer.body)) {
        clearTimeout(silent);
        silent = setTimeout(end, SILENT_MS);
        if (!notice) continue;
        if (!kinds.size) setTimeout(ask, GATHER_MS);
        kinds.add(notice.kind);
      }
    } catch {
      // the connection broke, or was ended because nobody looks; both are mended below
    } finally {
      clearTimeout(silent);
      signal.removeEventListener("abort", end);
      document.removeEventListener("visibilitychange", hide);
    }
    if (signal.aborted || document.hidden) continue;
    tell("stale");
    await new Promise((go) => setTimeout(go, wait * (0.5 + Math.random())));
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }
}

/** The notices of a stream of server-sent events; null for a sign of life. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<Notice | null> {
  const reader = body.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop() ?? "";
      for (const part of parts) yield noticeOf(part);
    }
  } finally {
    reader.releaseLock();
  }
}

function noticeOf(part: string): Notice | null {
  const data = part.split("\n").filter((line) => line.startsWith("data: "));
  if (!data.length) return null;
  try {
    const told = JSON.parse(data.map((line) => line.slice(6)).join("\n"));
    return told && typeof told.kind === "string" ? told : null;
  } catch {
    return null;
  }
}

function visible(signal: AbortSignal): Promise<void> {
  return new Promise((go) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      signal.removeEventListener("abort", look);
      go();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look);
  });
}
