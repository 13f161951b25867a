// The stream of what changes (GET /api/notices), followed again after every break.

import { TENANT } from "../api/client";

export type Liveness = "connecting" | "live" | "stale" | "out";

/** What a follower is told: how the connection is, or of what kind something changed. */
export type Word = { now: Liveness } | { kind: string };

interface Notice {
  kind: string;
  data: Record<string, unknown>;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const SILENT_MS = 40_000; // the server says something each 15 seconds

/** Follow until `signal` ends it, or nobody is signed in any more. */
export async function listen(tenant: string, tell: (word: Word) => void, signal: AbortSignal): Promise<void> {
  let wait = FIRST_WAIT_MS;
  while (!signal.aborted) {
    const connection = new AbortController();
    const end = () => connection.abort();
    signal.addEventListener("abort", end);
    let silent = setTimeout(end, SILENT_MS);
    try {
      const answer = await fetch("/api/notices", { headers: { [TENANT]: tenant }, signal: connection.signal });
      if (answer.status === 401) return tell({ now: "out" });
      if (!answer.ok || !answer.body) throw new Error(String(answer.status));
      tell({ now: "live" });
      wait = FIRST_WAIT_MS;
      for await (const notice of events(answer.body)) {
        clearTimeout(silent);
        silent = setTimeout(end, SILENT_MS);
        if (notice) tell({ kind: notice.kind });
      }
    } catch {
      // the connection broke, or was ended; it is mended below unless nobody follows any more
    } finally {
      clearTimeout(silent);
      signal.removeEventListener("abort", end);
    }
    if (signal.aborted) return;
    tell({ now: "stale" });
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
