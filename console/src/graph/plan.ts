// What a plan does to the steps and channels of a pipeline: for the picture of the plan, in the console and in the page
// of MCP Apps.

import type { Schemas } from "../api/client";

export type Change = Pick<Schemas["PlannedChange"], "kind" | "id" | "action"> & Partial<Schemas["PlannedChange"]>;

/** The step that a workload `DEPLOYMENT--STEP...` belongs to; none for what is of another deployment. */
export function stepOf(id: string, deployment: string): string | undefined {
  return id.startsWith(`${deployment}--`) ? id.slice(deployment.length + 2).split("--")[0] : undefined;
}

/** What happens to each step: to its own job before what happens to its transports or where it runs. */
export function actionsOf(changes: Change[], deployment: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const { id, action } of changes) {
    const step = stepOf(id, deployment);
    if (step && action !== "unchanged" && !found.has(step)) found.set(step, action);
  }
  return found;
}
