// Something that a person asks for: under way or not, and why it was refused.

import { useEffect, useState } from "react";
import { useSession } from "../parts/session";
import { Problem } from "./client";

interface How {
  /** It carries a key, so that asking again is the same thing and no second one. */
  once?: boolean;
}

export function useAct({ once = false }: How = {}) {
  const { liveness } = useSession();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  // Of a server that is there again nothing is to be read any more.
  useEffect(() => {
    if (liveness === "live") setProblem((was) => (was?.code === "unreachable" ? null : was));
  }, [liveness]);

  /** Do it; a refusal is kept in `problem` and handed to `refused`. */
  async function act(work: () => Promise<unknown>, refused?: (problem: Problem) => void): Promise<void> {
    setBusy(true);
    setProblem(null);
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.code === "unreachable" ? unanswered(error, once) : error);
      refused?.(error);
    } finally {
      setBusy(false);
    }
  }

  /** Something else is asked now: what was said of these fields, or of all of it, does not hold of that. */
  const changed = (fields?: string[]) => setProblem((was) => was && without(was, fields));

  return { act, busy, problem, setProblem, changed };
}

/** A read is asked again by itself and an act is not; whether it was done, nobody knows. */
const unanswered = ({ fault }: Problem, once: boolean): Problem =>
  new Problem({
    ...fault,
    detail: "The server did not answer. Nothing is known to have been done.",
    hint: once
      ? "When it is there again, press the button again: however often you do, it is done once."
      : "When it is there again, look whether it was done, and else do it again.",
  });

/** The top key of a place; of a run all places are within its parameters. */
const fieldOf = (pointer: string): string | undefined => pointer.replace(/^\/params(?=\/)/, "").split("/")[1];

/** What is left of a refusal when these fields have changed; nothing, when all that it named has. */
export function without(problem: Problem, fields?: string[]): Problem | null {
  if (problem.code === "unreachable") return problem; // which was not about a field
  const errors = fields ? problem.fault.errors.filter(({ pointer }) => !fields.includes(fieldOf(pointer) ?? "")) : [];
  if (!errors.length) return null;
  return errors.length === problem.fault.errors.length ? problem : new Problem({ ...problem.fault, errors });
}
