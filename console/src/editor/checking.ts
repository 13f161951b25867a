// What the engine says of the text, 400 ms after the last key; the newest answer wins.

import { useEffect, useState } from "react";
import { call, Problem, type Result, type Schemas } from "../api/client";
import type { Fault } from "./Code";

const PAUSE_MS = 400;

export type Checked = Result<"workflow_validate">;
export type Remark = Schemas["Remark"];

interface Known {
  /** Of which text it tells. */
  text: string;
  report: Checked | null;
  problem: Problem | null;
}

export function useChecked(text: string, tenant: string) {
  const [known, setKnown] = useState<Known | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    const wait = setTimeout(() => {
      call("workflow_validate", { document: text }, { tenant, signal: abort.signal }).then(
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
  }, [text, tenant]);
  return { report: known?.report ?? null, problem: known?.problem ?? null, current: known?.text === text };
}

/** Line and column of a remark, from 1; null for what has no place. */
export function placeOf({ where }: Remark): { line: number; column: number } | null {
  const found = /:(\d+):(\d+)$/.exec(where ?? "");
  return found ? { line: Number(found[1]), column: Number(found[2]) } : null;
}

/** What stands in the margin of the text. */
export function faultsOf(report: Checked | null): Fault[] {
  const rows = (list: Remark[], severity: Fault["severity"]) =>
    list.map((one) => ({
      ...(placeOf(one) ?? { line: 1 }),
      severity,
      message: [one.message, one.hint].filter(Boolean).join(" "),
    }));
  return report ? [...rows(report.errors, "error"), ...rows(report.warnings, "warning")] : [];
}
