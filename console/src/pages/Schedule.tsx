// One schedule: when it fires next and what became of it last; run now, pause, resume, and run for times that are past.

import { Button, Select, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { useAct } from "../api/act";
import { call, type Schemas } from "../api/client";
import { useRead } from "../api/queries";
import { Age } from "../parts/Age";
import { Dialog } from "../parts/Dialog";
import { Facts, Head, Read, Refusal, Section } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { useOperator, useTenant } from "../parts/session";
import { counted } from "../words/numbers";
import { full, zoneName } from "../words/times";
import { wordOf } from "./Schedules";

type Shown = Schemas["ScheduleShown"];

export function Schedule() {
  const { name } = useParams({ strict: false }) as { name: string };
  const read = useRead("schedule_get", { name }, { every: 5_000 });
  return (
    <Read of={read}>
      {(schedule) => (
        <>
          <Head
            title={
              <>
                Schedule of <code>{schedule.name}</code>
              </>
            }
            state={<State word={wordOf(schedule)} title={schedule.reason} />}
            actions={<Actions schedule={schedule} />}
          />
          {schedule.on_time === false && <div className="note warning">{schedule.reason}</div>}
          {schedule.paused && (
            <div className="note warning">
              Paused by {schedule.paused.by} <Age at={schedule.paused.at} />
              {schedule.paused.reason && `: ${schedule.paused.reason}`}
              {schedule.paused.until && `. It resumes by itself on ${full(schedule.paused.until)}.`}
            </div>
          )}
          <Facts
            items={[
              ["Schedule", schedule.schedule],
              ["Zone", schedule.time_zone],
              [
                "Deployment",
                schedule.deployment && (
                  <Link key="of" to="/deployments/$name" params={{ name: schedule.deployment }}>
                    <code>{schedule.deployment}</code>
                  </Link>
                ),
              ],
              ["Last success", <Age key="at" at={schedule.last_success_at} />],
              ["Failed in a row", schedule.failures],
              ["Missed", schedule.missed],
              ["Skipped", schedule.skipped],
              ["Waiting", schedule.waiting],
            ]}
          />
          <Section title="Next firings">
            {schedule.next.length ? (
              <ul className="timeline">
                {schedule.next.map((at) => (
                  <li key={at}>
                    {full(at)}{" "}
                    {schedule.time_zone && schedule.time_zone !== zoneName() && (
                      <span className="quiet">
                        ({at.slice(11, 19)} in {schedule.time_zone})
                      </span>
                    )}{" "}
                    <Age at={at} />
                  </li>
                ))}
              </ul>
            ) : (
              <p className="quiet">It does not fire: it is {schedule.state.replaceAll("_", " ")}.</p>
            )}
          </Section>
          <Section title="Last runs">
            {schedule.runs.length ? (
              <Rows
                label="Last runs"
                rows={schedule.runs}
                id={(row) => row.run_id}
                columns={[
                  { title: "State", field: "state", cell: (row) => <State word={row.state} /> },
                  { title: "Cause", field: "cause", cell: (row) => row.cause },
                  { title: "For", cell: (row) => (row.scheduled_for ? full(row.scheduled_for) : "–") },
                  { title: "Started", field: "started_at", cell: (row) => <Age at={row.started_at} /> },
                  { title: "Ended", field: "ended_at", cell: (row) => <Age at={row.ended_at} /> },
                  { title: "Runs", cell: (row) => row.count ?? 1, number: true },
                  {
                    title: "Logs",
                    cell: (row) => <Link to={`/logs?run=${row.run_id}`}>Logs</Link>,
                  },
                  { title: "Why", cell: (row) => row.reason },
                ]}
              />
            ) : (
              <p className="quiet">It has not run yet.</p>
            )}
          </Section>
        </>
      )}
    </Read>
  );
}

type Asked = "pause" | "resume" | "backfill" | null;

function Actions({ schedule }: { schedule: Shown }) {
  const operator = useOperator();
  const tenant = useTenant();
  const client = useQueryClient();
  const { act, busy, problem } = useAct();
  const [asked, setAsked] = useState<Asked>(null);
  if (!operator) return <span className="quiet">Running and pausing is for operators.</span>;
  const runNow = () =>
    act(async () => {
      await call("job_run_now", { name: schedule.name }, { tenant });
      await client.invalidateQueries();
    });
  const close = () => {
    setAsked(null);
    void client.invalidateQueries();
  };
  const deployed = schedule.state !== "not_deployed";
  return (
    <>
      {problem && <Refusal problem={problem} />}
      {deployed && (
        <Button variant="subtle" onClick={() => setAsked("backfill")}>
          Backfill
        </Button>
      )}
      {schedule.paused ? (
        <Button variant="default" onClick={() => setAsked("resume")}>
          Resume
        </Button>
      ) : (
        <Button variant="default" onClick={() => setAsked("pause")}>
          Pause
        </Button>
      )}
      {deployed && (
        <Button loading={busy} onClick={() => void runNow()}>
          Run now
        </Button>
      )}
      {asked === "pause" && <Pause name={schedule.name} close={close} />}
      {asked === "resume" && <Resume name={schedule.name} close={close} />}
      {asked === "backfill" && <Backfill name={schedule.name} close={close} />}
    </>
  );
}

interface Asking {
  name: string;
  close: () => void;
}

function Pause({ name, close }: Asking) {
  const tenant = useTenant();
  const [reason, setReason] = useState("");
  const [until, setUntil] = useState("");
  const pause = async () => {
    await call("schedule_pause", { name, reason, ...(until ? { until } : {}) }, { tenant });
    close();
  };
  return (
    <Dialog title={`Pause ${name}`} verb="Pause it" submit={pause} close={close}>
      <p>It fires by its times no more. What runs ends well, and Run now still runs it.</p>
      <TextInput label="Why" value={reason} onChange={(event) => setReason(event.currentTarget.value)} />
      <TextInput
        label="Until"
        description="From now (2h, 3d) or ISO 8601 with a zone; empty: until somebody resumes it."
        value={until}
        onChange={(event) => setUntil(event.currentTarget.value)}
      />
    </Dialog>
  );
}

const MISSED = { skip: "None of them", last: "The last one", all: "All of them, at most 100" } as const;

function Resume({ name, close }: Asking) {
  const tenant = useTenant();
  const [missed, setMissed] = useState<keyof typeof MISSED>("skip");
  const resume = async () => {
    await call("schedule_resume", { name, missed }, { tenant });
    close();
  };
  return (
    <Dialog title={`Resume ${name}`} verb="Resume it" submit={resume} close={close}>
      <Select
        label="Of the firings that came due in the pause, run now"
        data={Object.entries(MISSED).map(([value, label]) => ({ value, label }))}
        value={missed}
        allowDeselect={false}
        onChange={(chosen) => chosen && setMissed(chosen as keyof typeof MISSED)}
      />
    </Dialog>
  );
}

/** First which times, then the runs for just those: a change of the stretch asks for another look. */
function Backfill({ name, close }: Asking) {
  const tenant = useTenant();
  const [since, setSince] = useState("1d");
  const [until, setUntil] = useState("1m");
  const [seen, setSeen] = useState<Schemas["Backfill"] | null>(null);
  const submit = async () => {
    if (!seen) {
      setSeen(await call("schedule_backfill", { name, since, until, dry_run: true }, { tenant }));
    } else {
      // The stretch from the first to the last time that was shown, so that what runs is what was looked at.
      const end = new Date(Date.parse(seen.times.at(-1) ?? "") + 1).toISOString();
      await call("schedule_backfill", { name, since: seen.times[0] ?? since, until: end }, { tenant });
      close();
    }
  };
  const change = (set: (text: string) => void) => (event: { currentTarget: { value: string } }) => {
    set(event.currentTarget.value);
    setSeen(null);
  };
  return (
    <Dialog
      title={`Run ${name} for times that are past`}
      verb={seen ? `Run ${counted(seen.count, "time")}` : "Show the times"}
      ready={seen?.count !== 0}
      submit={submit}
      close={close}
    >
      <TextInput
        label="Since"
        description="A time ago (2d, 6h) or ISO 8601 with a zone."
        value={since}
        onChange={change(setSince)}
      />
      <TextInput label="Until" description="Before this time, likewise." value={until} onChange={change(setUntil)} />
      {seen && (
        <div role="status">
          <p>
            {seen.count ? `It would run for ${counted(seen.count, "time")}:` : "No firing falls into this stretch."}
          </p>
          <ul className="firings">
            {seen.times.map((at) => (
              <li key={at}>{full(at)}</li>
            ))}
          </ul>
        </div>
      )}
    </Dialog>
  );
}
