// Reads of the engine as React queries: kept by tenant, operation and arguments, asked anew when a notice says so.

import { keepPreviousData, type UseQueryResult, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useTenant } from "../parts/session";
import { call, type Name, type Problem } from "./client";

export interface Reading {
  enabled?: boolean;
  /** Milliseconds after which it is asked anew, for what no notice tells. */
  every?: number;
}

/** The answer of a read. */
export function useRead<T>(
  name: Name,
  args: Record<string, unknown>,
  reading: Reading = {},
): UseQueryResult<T, Problem> {
  const tenant = useTenant();
  return useQuery<T, Problem>({
    queryKey: [tenant, name, args],
    queryFn: ({ signal }) => call<T>(name, args, { tenant, signal }),
    enabled: reading.enabled ?? true,
    refetchInterval: reading.every ?? false,
    placeholderData: keepPreviousData,
  });
}

interface Page {
  items: Record<string, unknown>[];
  next_cursor?: string | null;
  total?: number;
}

/** A list, page by page: its rows so far, and how to get more. */
export function useList<Row>(name: Name, args: Record<string, unknown>, reading: Reading = {}) {
  const tenant = useTenant();
  const query = useInfiniteQuery<Page, Problem>({
    queryKey: [tenant, name, args],
    queryFn: ({ signal, pageParam }) =>
      call<Page>(name, { limit: 100, ...args, ...(pageParam ? { cursor: pageParam } : {}) }, { tenant, signal }),
    initialPageParam: "",
    getNextPageParam: (last) => last.next_cursor || undefined,
    enabled: reading.enabled ?? true,
    refetchInterval: reading.every ?? false,
    placeholderData: keepPreviousData,
  });
  const rows = (query.data?.pages.flatMap((page) => page.items) ?? []) as Row[];
  return { ...query, rows, total: query.data?.pages[0]?.total };
}
