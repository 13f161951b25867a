// How a thing is: an icon, a word and a colour, never the colour alone.

import type { ReactElement } from "react";

export type Tone = "well" | "working" | "warning" | "failed" | "idle";

/** What the words of the engine are: states, health, outcomes and actions of every kind of thing. */
export const TONES: Record<string, Tone> = {
  healthy: "well",
  running: "well",
  online: "well",
  live: "well",
  succeeded: "well",
  active: "well",
  applied: "well",
  published: "well",
  valid: "well",
  installed: "well",
  create: "well",
  allowed: "well",
  open: "well",
  accepted: "working",
  dispatched: "working",
  applying: "working",
  removing: "working",
  progressing: "working",
  starting: "working",
  pending: "working",
  planned: "working",
  update: "working",
  move: "working",
  retrying: "warning",
  warning: "warning",
  degraded: "warning",
  drained: "warning",
  draining: "warning",
  paused: "warning",
  stale: "warning",
  waiting: "warning",
  missed: "warning",
  missing: "warning",
  closed: "idle",
  skipped: "warning",
  completed: "well",
  assigned: "working",
  failing: "failed",
  down: "failed",
  gone: "failed",
  failed: "failed",
  lost: "failed",
  offline: "failed",
  quarantined: "failed",
  rejected: "failed",
  timed_out: "failed",
  blocked: "failed",
  refused: "failed",
  remove: "failed",
  destroy: "failed",
};

const SHAPES: Record<Tone, ReactElement> = {
  well: <path d="M3 6.5 5 8.5 9 4" fill="none" stroke="currentColor" strokeWidth="1.8" />,
  working: <path d="M6 2.5a3.5 3.5 0 1 1-3.5 3.5" fill="none" stroke="currentColor" strokeWidth="1.8" />,
  warning: <path d="M6 1.5 11 10.5H1zM6 5v2.5M6 8.5v1" fill="none" stroke="currentColor" strokeWidth="1.2" />,
  failed: <path d="M3 3l6 6M9 3l-6 6" fill="none" stroke="currentColor" strokeWidth="1.8" />,
  idle: <path d="M2.5 6h7" fill="none" stroke="currentColor" strokeWidth="1.8" />,
};

export const toneOf = (word: string): Tone => TONES[word] ?? "idle";

export function State({ word, title }: { word: string; title?: string | undefined }) {
  const tone = toneOf(word);
  return (
    <span className={`state ${tone}`} title={title}>
      <svg width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">
        {SHAPES[tone]}
      </svg>
      {word.replaceAll("_", " ")}
    </span>
  );
}
