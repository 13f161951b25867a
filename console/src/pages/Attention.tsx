// What needs somebody: it says "Nothing needs you" only after everything that could say otherwise has answered.

import { Link } from "@tanstack/react-router";
import { useList, useRead } from "../api/queries";
import { Age } from "../parts/Age";
import { Loading, Refusal, Section } from "../parts/Page";
import { State, toneOf } from "../parts/State";
import { counted } from "../words/numbers";
import { workerWord } from "../words/workers";
import { useUnwell } from "./unwell";

type List<N extends "deployment_list" | "worker_list" | "schedule_list"> = ReturnType<typeof useList<N>>;

interface Asked {
  deployments: List<"deployment_list">;
  workers: List<"worker_list">;
  schedules: List<"schedule_list">;
}

export function Attention({ deployments, workers, schedules }: Asked) {
  const workloads = useUnwell();
  const failed = useLately("failed");
  const silent = useLately("timed_out");
  const letters = useRead("dead_letter_list", { limit: 1 }, { every: 15_000 });
  const asked = [deployments, workers, schedules, workloads, failed, silent, letters];
  const refused = asked.find(({ error }) => error);
  const waiting = asked.some(({ data }) => data === undefined);
  const unwell = deployments.rows.filter(({ health, drift }) => toneOf(health) !== "well" || drift > 0);
  const single = workloads.rows.filter(({ deployment }) => !deployment);
  const lost = workers.rows.filter(({ state }) => state !== "online");
  const late = schedules.rows.filter(({ on_time, state }) => !on_time && state === "active");
  const lettersWaiting = letters.data?.total ?? 0;
  const found =
    unwell.length + single.length + lost.length + late.length + failed.total + silent.total + lettersWaiting;
  return (
    <Section title="Needs attention">
      {refused?.error && <Refusal problem={refused.error} again={refused.refetch} />}
      {found > 0 && (
        <ul className="timeline">
          {unwell.map((one) => (
            <li key={one.name}>
              <Link to="/deployments/$name" params={{ name: one.name }}>
                <code>{one.name}</code>
              </Link>{" "}
              <State word={one.health} /> {one.reason} {one.drift > 0 && `${counted(one.drift, "drift")}. `}
              <Age at={one.since} />
            </li>
          ))}
          {single.map((one) => (
            <li key={one.workload}>
              Job{" "}
              <Link to="/jobs/$name" params={{ name: one.job }}>
                <code>{one.job}</code>
              </Link>{" "}
              <State word={one.health ?? "progressing"} /> {one.reason} <Age at={one.since} />
            </li>
          ))}
          {lost.map((one) => (
            <li key={one.name}>
              <Link to="/workers">
                Worker <code>{one.name}</code>
              </Link>{" "}
              <State word={workerWord(one)} />
            </li>
          ))}
          {late.map((one) => (
            <li key={one.name}>
              <Link to="/schedules">
                Schedule <code>{one.name}</code>
              </Link>{" "}
              <State word="missed" /> {one.reason}
            </li>
          ))}
          <Failures youngest={failed.youngest} total={failed.total} word="failed" />
          <Failures youngest={silent.youngest} total={silent.total} word="timed_out" />
          {lettersWaiting > 0 && (
            <li>
              <Link to="/issues">{counted(lettersWaiting, "dead letter")}</Link> wait for a decision
            </li>
          )}
        </ul>
      )}
      {!refused && waiting && <Loading />}
      {!refused && !waiting && !found && (
        <p>
          <State word="healthy" title="all that is deployed" /> Nothing needs you.
        </p>
      )}
    </Section>
  );
}

type Ended = "failed" | "timed_out";

/** The runs of triggers in the last hour that ended so: the youngest, and how many there were. */
function useLately(state: Ended) {
  const asked = useList("trigger_invocation_list", { state, since: "1h", limit: 1 }, { every: 60_000 });
  return { ...asked, youngest: asked.rows[0], total: asked.total ?? 0 };
}

function Failures({
  youngest,
  total,
  word,
}: Pick<ReturnType<typeof useLately>, "youngest" | "total"> & { word: Ended }) {
  if (!youngest) return null;
  return (
    <li>
      <Link to={`/invocations?state=${word}`}>{counted(total, "run")} of triggers</Link> <State word={word} /> in the
      last hour, the youngest{" "}
      <Link to="/invocations/$id" params={{ id: youngest.invocation_id }}>
        <code>{youngest.trigger_slug}</code>
      </Link>{" "}
      <Age at={youngest.requested_at} />
    </li>
  );
}
