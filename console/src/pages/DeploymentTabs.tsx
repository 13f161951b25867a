// The further parts of a deployment: its history with what differs, where its workloads are placed, and its drift.

import { Button } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { call, type Schemas } from "../api/client";
import { useList, useRead } from "../api/queries";
import { Age } from "../parts/Age";
import { Dialog } from "../parts/Dialog";
import { Facts, Read, Refusal, Section } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { useAdmin, useOperator, useTenant } from "../parts/session";
import { Change, Move } from "./planChanges";
import { itemOf, usePlanning } from "./planning";

type Shown = Schemas["Deployment"];

export function History({ name, present }: { name: string; present: number }) {
  const planning = usePlanning(name);
  const list = useList("deployment_history", { name, limit: 25 });
  const [compared, setCompared] = useState<number | null>(null);
  return (
    <Read of={list}>
      {() => (
        <>
          {planning.problem && <Refusal problem={planning.problem} />}
          <Rows
            label="History"
            rows={list.rows}
            id={(row) => row.history_id}
            more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
            total={list.total}
            columns={[
              { title: "Revision", cell: (row) => row.revision, number: true },
              { title: "At", cell: (row) => <Age at={row.at} /> },
              { title: "What", cell: (row) => row.action },
              { title: "By", cell: (row) => `${row.by} (${row.surface})` },
              { title: "Source", cell: (row) => <code>{row.source}</code> },
              { title: "Values changed", cell: (row) => <code>{row.changed.join(", ") || row.reason}</code> },
              {
                title: "Compare",
                cell: (row) =>
                  row.revision < present && (
                    <Button variant="subtle" onClick={() => setCompared(row.revision)}>
                      Compare {row.revision} with the present
                    </Button>
                  ),
              },
            ]}
          />
          {compared !== null && (
            <Compared name={name} revision={compared} present={present}>
              {planning.may && (
                <Button variant="default" onClick={() => void planning.plan({ to_revision: compared })}>
                  Plan the way back to {compared}
                </Button>
              )}
            </Compared>
          )}
        </>
      )}
    </Read>
  );
}

interface ComparedGiven {
  name: string;
  revision: number;
  present: number;
  children: React.ReactNode;
}

function Compared({ name, revision, present, children }: ComparedGiven) {
  const read = useRead("deployment_history", { name, compare: [revision, present] });
  return (
    <Section title={`From revision ${revision} to ${present}`}>
      <Read of={read}>
        {({ values = [], changes = [], changes_left_out = 0 }) => (
          <>
            {!values.length && !changes.length && <p className="quiet">Nothing differs.</p>}
            {values.map((value) => (
              <Move key={value} text={value} />
            ))}
            {changes.map((one) => (
              <Change key={`${one.kind} ${one.id}`} change={one} />
            ))}
            {changes_left_out > 0 && <p className="quiet">{changes_left_out} more are not shown here.</p>}
            <div className="filters" style={{ marginTop: 8 }}>
              {children}
            </div>
          </>
        )}
      </Read>
    </Section>
  );
}

export function Placement({ name }: { name: string }) {
  const admin = useAdmin();
  const read = useRead("deployment_get", { name, detail: "detailed" });
  return (
    <Read of={read}>
      {(shown) => {
        const { kind, slug } = itemOf(shown.source);
        const placed = Object.entries(shown.placement ?? {});
        return (
          <>
            <div className="note">
              <p>
                Placement is sticky: a plan leaves workloads where they are, as long as their worker takes them. What a
                worker has lost or given away moves by reconciling.
              </p>
              {admin && (
                <Button
                  mt="xs"
                  variant="default"
                  component={Link}
                  to={`/catalog/${kind}/${slug}/deploy?name=${shown.name}&afresh=true`}
                >
                  Recompute placement for next plan
                </Button>
              )}
            </div>
            <Facts items={[["Worker group", <code key="group">{shown.worker_group}</code>]]} />
            <Rows
              label="Placement"
              rows={placed}
              id={([job]) => job}
              columns={[
                { title: "Job", key: ([job]) => job, cell: ([job]) => <code>{job}</code> },
                { title: "Replicas", cell: ([, workers]) => workers.length, number: true },
                {
                  title: "Workers",
                  cell: ([job, workers]) =>
                    workers.map((worker, n) => (
                      // biome-ignore lint/suspicious/noArrayIndexKey: the replica is its place
                      <span key={`${job} ${n}`}>
                        {n > 0 && ", "}
                        <Link to="/workers/$name" params={{ name: worker }}>
                          <code>{worker}</code>
                        </Link>
                      </span>
                    )),
                },
              ]}
            />
          </>
        );
      }}
    </Read>
  );
}

export function Drift({ shown }: { shown: Shown }) {
  const operator = useOperator();
  const [asking, setAsking] = useState(false);
  const { mode, interval_seconds, ignore } = shown.reconcile;
  return (
    <>
      <Facts
        items={[
          ["Reconcile", mode === "auto" ? "heals drift by itself" : "only shows drift"],
          ["Every", interval_seconds ? `${interval_seconds} s` : "as the engine is set to"],
          ["Left alone", ignore.join(", ")],
        ]}
      />
      {shown.drift.length ? (
        <Rows
          label="Drift"
          rows={shown.drift}
          id={(row) => `${row.kind} ${row.id}`}
          columns={[
            { title: "Drift", cell: (row) => <State word="warning" title={row.kind} /> },
            { title: "What", cell: (row) => row.kind.replaceAll("_", " ") },
            { title: "Workload", cell: (row) => <code>{row.id}</code> },
            { title: "Expected", cell: (row) => <span className="after">{row.expected}</span> },
            { title: "Observed", cell: (row) => <span className="before">{row.observed}</span> },
            { title: "Where", cell: (row) => row.fields?.join(", ") },
            { title: "Left alone", cell: (row) => (row.muted ? "yes" : "") },
          ]}
        />
      ) : (
        <p>
          <State word="healthy" /> What runs is what was applied.
        </p>
      )}
      {operator && (
        <Button mt="sm" variant="default" onClick={() => setAsking(true)}>
          Reconcile (dry run first)
        </Button>
      )}
      {asking && <Reconcile name={shown.name} close={() => setAsking(false)} />}
    </>
  );
}

/** What a reconcile would do, then just that. */
export function Reconcile({ name, close }: { name: string; close: () => void }) {
  const tenant = useTenant();
  const client = useQueryClient();
  const read = useRead("deployment_reconcile", { name, dry_run: true, wait_seconds: 0 });
  const submit = async () => {
    await call("deployment_reconcile", { name }, { tenant });
    await client.invalidateQueries();
    close();
  };
  return (
    <Dialog
      title={`Reconcile ${name}`}
      verb={`Reconcile ${name}`}
      ready={!!read.data?.steps.length}
      submit={submit}
      close={close}
    >
      <Read of={read}>
        {({ steps, warnings }) => (
          <>
            {!steps.length && <p>There is nothing to mend.</p>}
            {steps.map((step) => (
              <p key={`${step.action} ${step.id}`}>
                <State word={step.action} /> <code>{step.id}</code> {step.worker && `on ${step.worker}`}{" "}
                <span className="quiet">{step.reason}</span>
              </p>
            ))}
            {warnings.map((one) => (
              <div key={one.message} className="note warning">
                {one.message}
              </div>
            ))}
          </>
        )}
      </Read>
    </Dialog>
  );
}
