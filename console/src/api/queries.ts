// Reads of the engine as React queries: kept by tenant, operation and arguments, asked anew when a notice says so.

import { type Query, type UseQueryResult, useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useTenant } from "../parts/session";
import { type Args, call, type Name, type Problem, type Result, type RowOf } from "./client";

/** What was shown stays until the new answer is there, as while one filters; on the page of another thing it does not:
 * whoever goes from one job to the next must not read the first under the name of the second. */
const here = () => ({
  meta: { page: location.pathname },
  placeholderData: <T>(before: T | undefined, query: Pick<Query, "meta"> | undefined) =>
    query?.meta?.page === location.pathname ? before : undefined,
});

export interface Reading {
  enabled?: boolean;
  /** All pages of a list, one after the other: for what is decided by all of its rows. */
  whole?: boolean;
  /** Milliseconds after which it is asked anew, for what no notice tells. */
  every?: number;
}

/** The answer of a read. */
export function useRead<N extends Name>(
  name: N,
  args: Args<N>,
  reading: Reading = {},
): UseQueryResult<Result<N>, Problem> {
  const tenant = useTenant();
  return useQuery<Result<N>, Problem>({
    queryKey: [tenant, name, args],
    queryFn: ({ signal }) => call(name, args, { tenant, signal }),
    enabled: reading.enabled ?? true,
    refetchInterval: reading.every ?? false,
    ...here(),
  });
}

interface Page<Row> {
  items: Row[];
  next_cursor?: string | null;
  total?: number;
}

/** A list, page by page: its rows so far, and how to get more. */
export function useList<N extends Name>(name: N, args: Omit<Args<N>, "cursor">, reading: Reading = {}) {
  const tenant = useTenant();
  const [sort, setSort] = useState<string>();
  const order = sort ? { sort } : {};
  const query = useInfiniteQuery<Page<RowOf<N>>, Problem>({
    queryKey: [tenant, name, { ...args, ...order }],
    queryFn: ({ signal, pageParam }) => {
      const page = pageParam ? { cursor: pageParam } : {};
      return call(name, { limit: 100, ...args, ...order, ...page } as unknown as Args<N>, {
        tenant,
        signal,
      }) as Promise<Page<RowOf<N>>>;
    },
    initialPageParam: "",
    getNextPageParam: (last) => last.next_cursor || undefined,
    enabled: reading.enabled ?? true,
    refetchInterval: reading.every ?? false,
    ...here(),
  });
  const { hasNextPage, isFetching, isFetchNextPageError, dataUpdatedAt, fetchNextPage } = query;
  const more = reading.whole && hasNextPage && !isFetching && !isFetchNextPageError;
  // A page that a notice has called off, before anybody saw that it was asked for, is asked for when there is data again.
  // biome-ignore lint/correctness/useExhaustiveDependencies: that there is new data is the occasion
  useEffect(() => {
    if (more) void fetchNextPage();
  }, [more, dataUpdatedAt, fetchNextPage]);
  const rows = query.data?.pages.flatMap((page) => page.items) ?? [];
  return { ...query, rows, total: query.data?.pages[0]?.total, by: { sort, set: setSort } };
}

/** Ask anew what begins with these names, for what no notice tells: after a write of this page. */
export function useAgain(): (...names: string[]) => Promise<void> {
  const client = useQueryClient();
  return (...names) =>
    client.invalidateQueries({
      predicate: ({ queryKey }) => names.some((name) => String(queryKey[1]).startsWith(name)),
    });
}
