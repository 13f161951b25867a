// What the engine says of the text, 400 ms after the last key; the newest answer wins.

import { useEffect, useState } from "react";
import { call, Problem, type Result, type Schemas } from "../api/client";
import type { Fault } from "./Code";

const PAUSE_MS = 400;

export type Checked = Result<"workflow_validate">;
export type Remark = Schemas["Remark"];

interface Known<R> {
  /** Of which text it tells. */
  text: string;
  report: R | null;
  problem: Problem | null;
}

type Ask<R> = (text: string, options: { tenant: string; signal: AbortSignal }) => Promise<R>;

export const useChecked = (text: string, tenant: string) => useNewest(text, tenant, validate);

const validate: Ask<Checked> = (document, options) => call("workflow_validate", { document }, options);

/** What `ask`, which stays the same, says of the text. */
export function useNewest<R>(text: string, tenant: string, ask: Ask<R>) {
  const [known, setKnown] = useState<Known<R> | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    const wait = setTimeout(() => {
      ask(text, { tenant, signal: abort.signal }).then(
        (report) => setKnown({ text, report, problem: null }),
        (error) => {
          if (error instanceof Problem) setKnown({ text, report: null, problem: error });
          else if (!abort.signal.aborted) throw error;
        },
      );
    }, PAUSE_MS);
    return () => {
      clearTimeout(wait);
      abort.abort();
    };
  }, [text, tenant, ask]);
  return { report: known?.report ?? null, problem: known?.problem ?? null, current: known?.text === text };
}

/** Line and column of a remark, from 1; null for what has no place. */
export function placeOf({ where }: Remark): { line: number; column: number } | null {
  const found = /:(\d+):(\d+)$/.exec(where ?? "");
  return found ? { line: Number(found[1]), column: Number(found[2]) } : null;
}

/** What stands in the margin of the text. */
export function faultsOf(report: Pick<Checked, "errors" | "warnings"> | null): Fault[] {
  const rows = (list: Remark[], severity: Fault["severity"]) =>
    list.map((one) => ({
      ...(placeOf(one) ?? { line: 1 }),
      severity,
      message: [one.message, one.hint].filter(Boolean).join(" "),
    }));
  return report ? [...rows(report.errors, "error"), ...rows(report.warnings, "warning")] : [];
}
