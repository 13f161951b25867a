// One worker: how it does, what it runs, what it changes of context values; draining it, and letting it work again.

import { Button } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useState } from "react";
import { useAct } from "../api/act";
import { call, type Schemas } from "../api/client";
import { useList, useRead } from "../api/queries";
import { Age } from "../parts/Age";
import { Dialog } from "../parts/Dialog";
import { Facts, Head, Read, Refusal, Section } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { useOperator, useSession } from "../parts/session";
import { coded } from "../words/code";
import { bytes, counted } from "../words/numbers";
import { workerWord } from "../words/workers";
import { Explain } from "./Explain";
import { roomBeside } from "./Workers";
import { workloadColumns } from "./workloadColumns";

type Shown = Schemas["WorkerShown"];

type Moved = Schemas["WorkerChanged"];

export function Worker() {
  const { name } = useParams({ strict: false }) as { name: string };
  const { identity } = useSession();
  const read = useRead("worker_get", { name }, { every: 5_000 });
  const mayContext = identity.role === "admin";
  const overrides = useList("context_list", { worker: name, level: "worker" }, { enabled: mayContext });
  return (
    <Read of={read}>
      {(worker) => (
        <>
          <Head
            title={
              <>
                Worker <code>{worker.name}</code>
              </>
            }
            state={
              <>
                <State word={workerWord(worker)} />
                <span className="quiet">
                  heard <Age at={worker.last_heartbeat_at} />
                </span>
              </>
            }
            actions={<Actions worker={worker} />}
          />
          {worker.unreachable && <div className="note failed">It does not answer: {worker.unreachable}</div>}
          <Facts
            items={[
              ["Group", <code key="group">{worker.group}</code>],
              ["Kind", worker.kind],
              ["Jobs", `${worker.jobs} of ${worker.slots} slots`],
              ["Memory", worker.report && bytes(worker.report.memory_bytes)],
              ["Most memory", worker.report && bytes(worker.report.memory_peak_bytes)],
              ["Processor", worker.report && `${worker.report.processor_seconds.toFixed(0)} s`],
              ["Loop lag", worker.report && `${(worker.report.loop_lag_seconds * 1000).toFixed(0)} ms`],
              ["Restarts", worker.restarts],
              ["Sandbox", worker.sandbox],
              ["Process", worker.pid],
              ["Labels", worker.labels.join(", ")],
            ]}
          />
          <Section title="Workloads of this tenant">
            {worker.workloads.length ? (
              <Rows
                label="Workloads of this tenant"
                rows={worker.workloads}
                id={(row) => row.id}
                columns={workloadColumns("health", "job", "replica", "deployment", "since", "why")}
              />
            ) : (
              <p className="quiet">It runs nothing of this tenant.</p>
            )}
          </Section>
          <Channels of={worker.report} />
          {mayContext && (
            <Section title="Context values of this worker">
              <Read of={overrides}>
                {() =>
                  overrides.rows.length ? (
                    <Rows
                      label="Context values of this worker"
                      rows={overrides.rows}
                      id={(row) => row.key}
                      columns={[
                        { title: "Key", field: "key", cell: (row) => <code>{row.key}</code> },
                        { title: "Value", cell: (row) => <code>{coded(row.value)}</code> },
                        { title: "Changed", cell: (row) => <Age at={row.updated_at} /> },
                        { title: "By", cell: (row) => row.updated_by },
                      ]}
                    />
                  ) : (
                    <p className="quiet">
                      It changes none: jobs see here what holds for its group.{" "}
                      <code>sluice context set KEY=VALUE --worker {name}</code>
                    </p>
                  )
                }
              </Read>
            </Section>
          )}
          <Section title="Why it is as it is">
            <Explain kind="worker" id={name} />
          </Section>
        </>
      )}
    </Read>
  );
}

function Channels({ of: report }: { of: Shown["report"] }) {
  const channels = Object.entries(report?.channels ?? {});
  if (!channels.length) return null;
  return (
    <Section title="Channels">
      <Rows
        label="Channels"
        rows={channels}
        id={([name]) => name}
        columns={[
          { title: "Channel", key: ([name]) => name, cell: ([name]) => <code>{name}</code> },
          { title: "Events in it", key: ([, many]) => many, cell: ([, many]) => many, number: true },
        ]}
      />
    </Section>
  );
}

function Actions({ worker }: { worker: Shown }) {
  const { identity, tenant } = useSession();
  const client = useQueryClient();
  const { act, busy, problem } = useAct();
  const [asking, setAsking] = useState(false);
  const [came, setCame] = useState<Moved | null>(null);
  const operator = useOperator();
  if (!operator || !identity.platform) return <span className="quiet">Draining is for operators of the platform.</span>;
  const resume = () =>
    act(async () => {
      await call("worker_resume", { name: worker.name }, { tenant });
      await client.invalidateQueries();
    });
  const drain = async () => {
    setCame(await call("worker_drain", { name: worker.name }, { tenant }));
    await client.invalidateQueries();
  };
  const close = () => {
    setAsking(false);
    setCame(null);
  };
  return (
    <>
      {problem && <Refusal problem={problem} />}
      {worker.drained ? (
        <Button loading={busy} onClick={() => void resume()}>
          Resume this worker
        </Button>
      ) : (
        <Button variant="default" onClick={() => setAsking(true)}>
          Drain this worker
        </Button>
      )}
      {asking && (
        <Dialog
          title={`Drain ${worker.name}`}
          verb={`Drain ${worker.name}`}
          submit={drain}
          close={close}
          ready={came === null}
        >
          {came ? <Drained came={came} /> : <Before worker={worker} />}
        </Dialog>
      )}
    </>
  );
}

/** What a drain would move, and where there is room for it. */
function Before({ worker }: { worker: Shown }) {
  const all = useList("worker_list", { group: worker.group });
  const room = roomBeside(all.rows, worker);
  const free = room.reduce((sum, one) => sum + one.free, 0);
  return (
    <>
      <p>
        Nothing new is placed on it, and {counted(worker.jobs, "workload")} of all tenants leave it, as far as others of{" "}
        <code>{worker.group}</code> have room. What has no other place runs on here.
      </p>
      <p>
        {room.length ? (
          <>
            Room beside it:{" "}
            {room.map((one) => (
              <span key={one.name}>
                <code>{one.name}</code> {counted(one.free, "slot")}{" "}
              </span>
            ))}
          </>
        ) : (
          <State word="warning" title="nothing can move" />
        )}{" "}
        {free < worker.jobs && `At least ${counted(worker.jobs - free, "workload")} would stay.`}
      </p>
      <ul>
        {worker.workloads.map((one) => (
          <li key={one.id}>
            <code>{one.id}</code>
          </li>
        ))}
      </ul>
    </>
  );
}

function Drained({ came }: { came: Moved }) {
  return (
    <div role="status">
      <p>
        {counted(came.moved_in_all, "workload")} moved, {came.stays_in_all} stayed.
      </p>
      {came.moved.map((one) => (
        <p key={one.id}>
          <code>{one.id}</code> → <code>{one.worker}</code>
        </p>
      ))}
      {came.stays.map((one) => (
        <p key={one.id}>
          <code>{one.id}</code> stays: {one.reason}
        </p>
      ))}
    </div>
  );
}
