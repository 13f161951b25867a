// Making a plan of what is deployed, and where it came from.

import { useNavigate } from "@tanstack/react-router";
import { useAct } from "../api/act";
import { call, type Schemas } from "../api/client";
import { useAdmin, useTenant } from "../parts/session";

export type ItemKind = "workflow" | "perspective" | "blueprint";

/** The parts of `workflow:slug@version`. */
export function itemOf(source: string): { kind: ItemKind; slug: string; version: string | undefined } {
  const [kind = "", rest = ""] = source.split(":");
  const [slug = "", version] = rest.split("@");
  return { kind: kind as ItemKind, slug, version };
}

/** Where the form is that begins with the values of a plan. */
export function formOf(plan: Schemas["SavedPlan"]): string {
  const { kind, slug } = itemOf(plan.source);
  const wanted = new URLSearchParams({ plan: plan.plan_id ?? "" });
  if (plan.base_revision) wanted.set("name", plan.name); // else it was new, and may not be there
  return `/catalog/${kind}/${slug}/deploy?${wanted}`;
}

/** Make a plan of what is deployed, and go to it. */
export function usePlanning(name: string) {
  const may = useAdmin();
  const tenant = useTenant();
  const navigate = useNavigate();
  const { act, problem } = useAct();
  const plan = (wanted: { to_revision?: number; remove?: boolean }) =>
    act(async () => {
      const made = await call("deployment_plan", { name, ...wanted }, { tenant });
      await navigate({ to: "/plans/$id", params: { id: made.plan_id ?? "" } });
    });
  return { may, plan, problem };
}
