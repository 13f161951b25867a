// Something that a person asks for: under way or not, and why it was refused.

import { useState } from "react";
import { Problem } from "./client";

export function useAct() {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);

  /** Do it; a refusal is kept in `problem` and handed to `refused`. */
  async function act(work: () => Promise<unknown>, refused?: (problem: Problem) => void): Promise<void> {
    setBusy(true);
    setProblem(null);
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error);
      refused?.(error);
    } finally {
      setBusy(false);
    }
  }

  return { act, busy, problem, setProblem };
}
