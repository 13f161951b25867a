// Workloads that are not well, all of them: each kind is asked for by itself, so that those that are well, which may be
// thousands, hide none.

import { type UseQueryOptions, useQueries } from "@tanstack/react-query";
import { call, type Problem, type Result, type RowOf, type Schemas } from "../api/client";
import { toneOf } from "../parts/State";
import { useTenant } from "../parts/session";

export const HEALTH = [
  ...(["healthy", "progressing", "warning", "degraded"] as const),
  ...(["failing", "down", "quarantined", "gone"] as const),
] satisfies Schemas["Health"][];
const UNWELL = HEALTH.filter((one) => ["warning", "failed"].includes(toneOf(one)));
const MOST = 100; // of each kind that are shown; more are counted
const EVERY_MS = 10_000;

export function useUnwell() {
  const tenant = useTenant();
  const asked = useQueries({
    queries: UNWELL.map((health): UseQueryOptions<Result<"workload_list">, Problem> => {
      const args = { health, limit: MOST };
      return {
        queryKey: [tenant, "workload_list", "unwell", args],
        queryFn: ({ signal }: { signal: AbortSignal }) => call("workload_list", args, { tenant, signal }),
        refetchInterval: EVERY_MS,
      };
    }),
  });
  const rows: RowOf<"workload_list">[] = asked.flatMap(({ data }) => data?.items ?? []);
  return {
    rows,
    total: asked.reduce((sum, { data }) => sum + (data?.total ?? 0), 0),
    data: asked.every(({ data }) => data) ? rows : undefined,
    error: asked.find(({ error }) => error)?.error ?? null,
    errorUpdateCount: Math.max(...asked.map(({ errorUpdateCount }) => errorUpdateCount)),
    refetch: () => Promise.all(asked.map(({ refetch }) => refetch())),
  };
}
