// What changes, and what is asked anew for it. A notice names what to ask; it carries nothing that is shown, so one that
// is lost costs nothing but time: after every gap all that is on the page is asked anew.
//
// All tabs of a browser share one stream, in a worker: a browser has six connections to a server, and one stream a tab
// would leave the seventh without an answer. Where there are no shared workers, a tab has a stream while it is seen.

import type { QueryClient } from "@tanstack/react-query";
import { type Liveness, listen, type Word } from "./stream";

export type { Liveness } from "./stream";

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

/** Ask again for what a notice is about. A request on its way may be answered with what was there before the notice: it
 * is awaited, then repeated. It is not cancelled, since notices that come faster than answers would cancel every one. */
export async function askAgain(client: QueryClient, names: string[]): Promise<void> {
  const predicate = ({ queryKey }: { queryKey: readonly unknown[] }) =>
    names.some((name) => String(queryKey[1]).startsWith(name));
  await client.refetchQueries({ predicate, fetchStatus: "fetching" }, { cancelRefetch: false });
  await client.invalidateQueries({ predicate }, { cancelRefetch: false });
}

/** Follow until `signal` ends it. A page that nobody sees asks for nothing; it asks for all when it is seen again. */
export function follow(client: QueryClient, tenant: string, tell: (now: Liveness) => void, signal: AbortSignal): void {
  const kinds = new Set<string>();
  let missed = false;
  const ask = () => {
    const names = [...kinds].flatMap((kind) => ABOUT[kind] ?? []);
    kinds.clear();
    if (document.hidden) missed = true;
    else void askAgain(client, names);
  };
  const askAll = () => {
    missed = document.hidden;
    if (!missed) void client.invalidateQueries();
  };
  const hear = (word: Word) => {
    if ("now" in word) {
      tell(word.now);
      if (word.now === "live") askAll(); // what happened while nobody listened
    } else {
      if (!kinds.size) setTimeout(ask, GATHER_MS);
      kinds.add(word.kind);
    }
  };
  document.addEventListener("visibilitychange", () => !document.hidden && missed && askAll(), { signal });
  if ("SharedWorker" in window) share(tenant, hear, signal);
  else whileSeen(tenant, hear, signal);
}

/** Hear what the worker hears that all tabs share. */
function share(tenant: string, hear: (word: Word) => void, signal: AbortSignal): void {
  const worker = new SharedWorker(new URL("./shared.worker.ts", import.meta.url), { type: "module", name: "notices" });
  const { port } = worker;
  const join = () => port.postMessage({ join: tenant });
  const leave = () => port.postMessage({});
  // A browser may have shared workers and refuse this one.
  worker.addEventListener("error", () => whileSeen(tenant, hear, signal), { signal, once: true });
  port.addEventListener("message", ({ data }: MessageEvent<Word>) => hear(data), { signal });
  port.start();
  join();
  signal.addEventListener("abort", leave);
  // A port does not say that its tab is gone, and a page may come back as it was left.
  window.addEventListener("pagehide", leave, { signal });
  window.addEventListener("pageshow", ({ persisted }) => persisted && join(), { signal });
}

function whileSeen(tenant: string, hear: (word: Word) => void, signal: AbortSignal): void {
  let stream: AbortController | null = null;
  const look = () => {
    if (document.hidden || signal.aborted) {
      stream?.abort();
      stream = null;
    } else if (!stream) {
      stream = new AbortController();
      void listen(tenant, hear, stream.signal);
    }
  };
  document.addEventListener("visibilitychange", look, { signal });
  signal.addEventListener("abort", look);
  look();
}
