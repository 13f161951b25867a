// Firings of schedules as a calendar: which stand on which day. Pure.

import type { Schemas } from "../api/client";
import { dayOf } from "../words/times";

export interface Firing {
  job: string;
  at: string;
  /** Missing: it is still to come. */
  state?: string;
}

export interface Day {
  day: string;
  firings: Firing[];
}

type Shown = Pick<Schemas["ScheduleShown"], "name" | "next" | "runs">;

/** The firings that are known of schedules: those of their last runs and the next ones. */
export const firingsOf = (schedules: Shown[]): Firing[] =>
  schedules.flatMap(({ name, next, runs }) => [
    ...runs.map((run) => ({ job: name, at: run.scheduled_for ?? run.started_at, state: run.state })),
    ...next.map((at) => ({ job: name, at })),
  ]);

const DAY_MS = 86_400_000;

/** So many days around a moment, each with its firings by time. */
export function daysAround(now: number, before: number, after: number, firings: Firing[]): Day[] {
  const days = Array.from({ length: before + after + 1 }, (_, n) => dayOf(new Date(now + (n - before) * DAY_MS)));
  return days.map((day) => ({
    day,
    firings: firings
      .filter(({ at }) => dayOf(new Date(at)) === day)
      .sort((a, b) => Date.parse(a.at) - Date.parse(b.at)),
  }));
}
