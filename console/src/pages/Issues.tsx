// What waits for somebody: workloads that are not well, workers that are gone, events that were refused.

import { Button, Modal } from "@mantine/core";
import { useState } from "react";
import { useAct } from "../api/act";
import { call } from "../api/client";
import { useList, useRead } from "../api/queries";
import { Age } from "../parts/Age";
import { Dialog } from "../parts/Dialog";
import { Facts, Head, Read, Refusal, Section } from "../parts/Page";
import { Chosen, Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { useAdmin, useOperator, useTenant } from "../parts/session";
import { coded } from "../words/code";
import { counted } from "../words/numbers";
import { workerWord } from "../words/workers";
import { useUnwell } from "./unwell";
import { workloadColumns } from "./workloadColumns";

export function Issues() {
  const unwell = useUnwell();
  const workers = useList("worker_list", {}, { every: 10_000, whole: true });
  const lost = workers.rows.filter(({ state }) => state !== "online");
  return (
    <>
      <Head title="Issues" />
      <Section title="Workloads that are not well">
        <Read of={unwell}>
          {() =>
            unwell.rows.length ? (
              <Rows
                label="Workloads that are not well"
                rows={unwell.rows}
                total={unwell.total}
                id={(row) => row.workload}
                columns={workloadColumns("health", "job", "replica", "deployment", "worker", "since", "logs", "why")}
              />
            ) : (
              <p className="quiet">All workloads are well.</p>
            )
          }
        </Read>
      </Section>
      {lost.length > 0 && (
        <Section title="Workers that take no jobs">
          <Rows
            label="Workers that take no jobs"
            rows={lost}
            id={(row) => row.name}
            columns={[
              { title: "State", cell: (row) => <State word={workerWord(row)} /> },
              { title: "Worker", cell: (row) => <code>{row.name}</code> },
              { title: "Last heard", cell: (row) => <Age at={row.last_heartbeat_at} /> },
            ]}
          />
        </Section>
      )}
      <Alerts />
      <Letters />
    </>
  );
}

/** What jobs raise with the action `message`; faults of workloads stand above it. */
function Alerts() {
  const list = useList("message_search", { type: "user-alert", limit: 50 }, { every: 10_000 });
  if (!list.rows.length) return null;
  return (
    <Section title="Alerts that jobs raised">
      <Rows
        label="Alerts that jobs raised"
        rows={list.rows}
        id={(row) => row.id}
        columns={[
          { title: "At", field: "at", cell: (row) => <Age at={row.at} /> },
          { title: "Job", field: "job_name", cell: (row) => <code>{row.job_name}</code> },
          { title: "Worker", cell: (row) => row.worker_id },
          { title: "Says", cell: (row) => <code>{coded(row.message_data).slice(0, 200)}</code> },
        ]}
      />
    </Section>
  );
}

function Letters() {
  const list = useList("dead_letter_list", {}, { every: 10_000 });
  const [open, setOpen] = useState<string | null>(null);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const operator = useOperator();
  const still = list.rows.filter(({ id }) => chosen.has(id)).map(({ id }) => id);
  return (
    <Section title="Dead letters: events that a job refused">
      {operator && <Together ids={still} done={() => setChosen(new Set())} again={() => void list.refetch()} />}
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label="Dead letters"
              rows={list.rows}
              id={(row) => row.id}
              {...(operator ? { chosen, choose: setChosen } : {})}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={[
                {
                  title: "Letter",
                  cell: (row) => (
                    <Button variant="subtle" onClick={() => setOpen(row.id)}>
                      <code>{row.id}</code>
                    </Button>
                  ),
                },
                { title: "At", cell: (row) => <Age at={row.at} /> },
                { title: "Job", cell: (row) => <code>{row.job}</code> },
                { title: "Step", cell: (row) => <code>{row.step}</code> },
                { title: "Code", cell: (row) => <code>{row.code}</code> },
                { title: "Why", cell: (row) => row.reason },
                { title: "Tries", cell: (row) => row.attempts, number: true },
              ]}
            />
          ) : (
            <p className="quiet">No event waits here.</p>
          )
        }
      </Read>
      {open && <OneLetter id={open} close={() => setOpen(null)} again={() => void list.refetch()} />}
    </Section>
  );
}

/** Replay or discard those that are chosen. */
function Together({ ids, done, again }: { ids: string[]; done: () => void; again: () => void }) {
  const tenant = useTenant();
  const { act, busy, problem } = useAct();
  const [said, setSaid] = useState("");
  const [asking, setAsking] = useState(false);
  const admin = useAdmin();
  const replay = () =>
    act(async () => {
      const came = await call("dead_letter_replay", { ids }, { tenant });
      setSaid(`${came.replayed} came through, ${came.refused} refused again. ${came.reason ?? ""}`);
      done();
      again();
    });
  const discard = async () => {
    const gone = await call("dead_letter_discard", { ids }, { tenant });
    const stay = gone.replaying ? ` ${gone.replaying} being replayed, left as they are.` : "";
    setSaid(`${counted(gone.discarded, "letter")} discarded.${stay}`);
    setAsking(false);
    done();
    again();
  };
  return (
    <>
      {problem && <Refusal problem={problem} />}
      {said && <p role="status">{said}</p>}
      <Chosen many={ids.length} what="letter">
        <Button loading={busy} onClick={() => void replay()}>
          Replay them
        </Button>
        {admin && (
          <Button variant="subtle" onClick={() => setAsking(true)}>
            Discard them for good
          </Button>
        )}
      </Chosen>
      {asking && (
        <Dialog
          title={`Discard ${counted(ids.length, "letter")}`}
          verb="Discard them for good"
          submit={discard}
          close={() => setAsking(false)}
        >
          <p>These events are gone then; nothing brings them back.</p>
        </Dialog>
      )}
    </>
  );
}

function OneLetter({ id, close, again }: { id: string; close: () => void; again: () => void }) {
  const tenant = useTenant();
  const [admin, operator] = [useAdmin(), useOperator()];
  const read = useRead("dead_letter_get", { id });
  const { act, busy, problem } = useAct();
  const [said, setSaid] = useState("");
  const replay = () =>
    act(async () => {
      const done = await call("dead_letter_replay", { ids: [id] }, { tenant });
      setSaid(`${done.replayed} came through, ${done.refused} was refused again. ${done.reason ?? ""}`);
      again();
    });
  const discard = () =>
    act(async () => {
      const gone = await call("dead_letter_discard", { ids: [id] }, { tenant });
      setSaid(gone.replaying ? "It is being replayed, and stays." : "It is gone.");
      again();
    });
  return (
    <Modal opened onClose={close} title={`Letter ${id}`} size="lg" closeButtonProps={{ "aria-label": "Close" }}>
      <Read of={read}>
        {(letter) => (
          <>
            <Facts
              items={[
                ["Job", <code key="job">{letter.job}</code>],
                ["Step", <code key="step">{letter.step}</code>],
                ["Code", <code key="code">{letter.code}</code>],
                ["Tries", letter.attempts],
                ["State", letter.status],
              ]}
            />
            <p>{letter.reason}</p>
            <pre className="text">{coded(letter.event, 2)}</pre>
            {problem && <Refusal problem={problem} />}
            {said && <p role="status">{said}</p>}
            {operator && (
              <div className="filters" style={{ marginTop: 12 }}>
                <Button loading={busy} onClick={() => void replay()}>
                  Replay this event
                </Button>
                {admin && (
                  <Button variant="subtle" disabled={busy} onClick={() => void discard()}>
                    Discard it for good
                  </Button>
                )}
              </div>
            )}
          </>
        )}
      </Read>
    </Modal>
  );
}
