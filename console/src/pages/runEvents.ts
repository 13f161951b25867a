// What happened to a run of a trigger, in words; and what of its parameters is another than in the run before. Pure.

import type { Schemas } from "../api/client";

type Event = Schemas["InvocationEvent"];

const WORDS: Record<string, string> = {
  accepted: "It was asked for and is on record",
  dispatched: "Its message is on its way to a replica of the job",
  redelivered: "Its message went out once more",
  run_failed: "A run of the job failed",
  response_refused: "An answer of the job was refused",
  proxy_response_refused: "What a request came back with was refused",
  proxy_recorded: "What the request came back with is on record",
  cancel_requested: "Somebody asked for its end",
  late_response: "An answer came after the end",
  succeeded: "It came through",
  failed: "It failed",
  timed_out: "Nobody answered in time",
  canceled: "It was canceled",
};

/** One line of a timeline. */
export function toldOf(event: Event): string {
  const parts = [WORDS[event.type] ?? event.type.replaceAll("_", " ")];
  if (event.job) parts.push(`of ${event.job}`);
  if (event.attempt) parts.push(`try ${event.attempt}`);
  if (event.status) parts.push(`with status ${event.status}`);
  if (event.surface) parts.push(`through ${event.surface}`);
  if (event.by && event.by !== "response") parts.push(`by ${event.by}`);
  if (event.withdrawn) parts.push("no replica had taken its message, which was withdrawn");
  if (event.confirmed !== undefined) parts.push(event.confirmed ? "its worker has stopped it" : "not confirmed yet");
  return parts.join(", ") + (event.reason ? `: ${event.reason}` : "");
}

const textIn = (of: Record<string, unknown>, key: string): string => (typeof of[key] === "string" ? of[key] : "");

/** Why a run failed, and what mends it: as the engine says it, or else the job in its answer. */
export function whyOf(result: Record<string, unknown>): { message: string; hint: string } {
  const answer = (result.trigger_response ?? {}) as Record<string, unknown>;
  return {
    message: textIn(result, "error_message") || textIn(answer, "error_message"),
    hint: textIn(result, "hint"),
  };
}

type Params = Record<string, unknown>;

/** What an edited rerun sends: the parameters that are others than before, and those that are left out. */
export function edited(before: Params, now: Params): { params: Params; unset: string[] } {
  const params = Object.fromEntries(
    Object.entries(now).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(before[key])),
  );
  return { params, unset: Object.keys(before).filter((key) => !(key in now)) };
}
