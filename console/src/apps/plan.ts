// The plan of a deployment: its picture, its changes, and a button that applies just this plan.

import "./apps.css";
import type { Schemas } from "../api/client";
import { make, show, tell } from "./elements";
import { type Answer, call, said, start } from "./host";
import { drawnOf, picture, SIGNS, type Source } from "./picture";

type Plan = Schemas["Plan"];

function drawn(plan: Plan, source: Source | null) {
  const counts = Object.entries(plan.summary ?? {})
    .filter(([, count]) => count)
    .map(([what, count]) => `${count} ${what === "unchanged" ? what : `to ${what}`}`);
  const rows = plan.changes.map((one) =>
    make(
      "tr",
      {},
      make("td", { class: `${one.action} whole` }, `${SIGNS[one.action] ?? ""} ${one.action}`),
      make("td", { class: "whole" }, one.kind),
      make("td", {}, one.id),
      make("td", {}, one.where),
      make("td", {}, one.reason, one.diff && make("pre", {}, one.diff)),
    ),
  );
  const notes = [
    ...(plan.blockers ?? []).map((one) => ["fault", one] as const),
    ...(plan.warnings ?? []).map((one) => ["update", one] as const),
  ];
  const id = plan.plan_id;
  const applicable = id && !plan.blockers?.length && rows.length > 0;
  show(
    make("h1", {}, `Plan for ${plan.name}`),
    make("p", { class: "quiet" }, [plan.source, counts.join(", ") || "nothing changes"].filter(Boolean).join(" · ")),
    picture(drawnOf(plan.name, plan.changes, source)),
    ...notes.map(([kind, one]) => make("p", { class: kind }, `${one.message} ${one.hint || ""}`)),
    rows.length > 0 && make("table", {}, make("tbody", {}, ...rows)),
    plan.changes_left_out > 0 && make("p", { class: "quiet" }, `${plan.changes_left_out} more changes are not shown.`),
    applicable
      ? button(id)
      : !id && make("p", { class: "quiet" }, "This plan was not saved: the session is read-only."),
  );
}

function button(id: string) {
  const made = make("button", { id: "apply", type: "button", click: () => void apply() }, "Apply this plan");
  async function apply() {
    made.setAttribute("disabled", "");
    tell("Applying…");
    try {
      const answer = await call("deployment_apply", { plan_id: id });
      tell(said(answer), answer.isError);
    } catch (error) {
      tell((error as Error).message, true);
      made.removeAttribute("disabled");
    }
  }
  return made;
}

async function sourceOf(plan: Plan): Promise<Source | null> {
  const [, type, slug, version] = /^(workflow|blueprint):([^@]+)@(.+)$/.exec(plan.source ?? "") ?? [];
  if (!type) return null;
  try {
    const answer = await call("catalog_get", { type, slug, version, detail: "detailed" });
    return answer.isError ? null : ((answer.structuredContent?.graph as Source | undefined) ?? null);
  } catch {
    return null; // the picture is then drawn from the changes alone
  }
}

async function answered(answer: Answer) {
  const plan = answer.structuredContent as Plan | undefined;
  if (answer.isError || !plan?.changes) return show(make("pre", {}, said(answer)));
  drawn(plan, null);
  const source = await sourceOf(plan);
  if (source) drawn(plan, source);
}

start((answer) => void answered(answer)).catch((error: Error) => tell(error.message, true));
