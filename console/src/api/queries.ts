// Reads of the engine as React queries: kept by tenant, operation and arguments, asked anew when a notice says so.

import { type Query, type UseQueryResult, useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
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
  /** All pages of a list at once: for what is decided by all of its rows. */
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

/** All pages of a list as one page, requested one after the other within one read. With a read for each page, a notice
 * between two of them would start again at the first page, and a stream of notices would never reach the last. */
export async function wholeOf<Row>(ask: (cursor: string) => Promise<Page<Row>>): Promise<Page<Row>> {
  const items: Row[] = [];
  for (let cursor: string | null | undefined = ""; ; ) {
    const page = await ask(cursor);
    items.push(...page.items);
    cursor = page.next_cursor;
    if (!cursor) return { ...page, items };
  }
}

/** A list, page by page: its rows so far, and how to get more. */
export function useList<N extends Name>(name: N, args: Omit<Args<N>, "cursor">, reading: Reading = {}) {
  const tenant = useTenant();
  const [sort, setSort] = useState<string>();
  const order = sort ? { sort } : {};
  const query = useInfiniteQuery<Page<RowOf<N>>, Problem>({
    queryKey: [tenant, name, { ...args, ...order }, reading.whole ? "whole" : "paged"],
    queryFn: ({ signal, pageParam }) => {
      const ask = (cursor: string) => {
        const page = cursor ? { cursor } : {};
        return call(name, { limit: 100, ...args, ...order, ...page } as unknown as Args<N>, {
          tenant,
          signal,
        }) as Promise<Page<RowOf<N>>>;
      };
      return reading.whole ? wholeOf(ask) : ask(pageParam as string);
    },
    initialPageParam: "",
    getNextPageParam: (last) => last.next_cursor || undefined,
    enabled: reading.enabled ?? true,
    refetchInterval: reading.every ?? false,
    ...here(),
  });
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
