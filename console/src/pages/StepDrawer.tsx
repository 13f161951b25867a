// What a step or an edge of a live graph is about: figures now and over the last hour, workers, last errors, logs.

import { Button, CloseButton } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { useRead } from "../api/queries";
import { useFiguresOf, useStateOf } from "../graph/board";
import { LATE, VERY_LATE } from "../graph/Graph";
import type { StepEdge, Workload } from "../graph/model";
import { Age } from "../parts/Age";
import { Facts, Read, Section } from "../parts/Page";
import { RateLine } from "../parts/Spark";
import { State } from "../parts/State";
import { visible } from "../words/code";
import { count, rate } from "../words/numbers";

const ERRORS = 5;

const seconds = (value: number | null | undefined): string =>
  value === null || value === undefined ? "–" : `${Math.round(value)} s`;

interface DrawerGiven {
  title: ReactNode;
  label: string;
  close: () => void;
  children: ReactNode;
}

function Drawer({ title, label, close, children }: DrawerGiven) {
  return (
    <aside className="drawer" aria-label={label}>
      <header>
        <h2>{title}</h2>
        <CloseButton aria-label={`Close ${label}`} onClick={close} />
      </header>
      {children}
    </aside>
  );
}

interface StepGiven {
  deployment: string;
  step: string;
  workloads: Workload[];
  close: () => void;
}

export function StepDrawer({ deployment, step, workloads, close }: StepGiven) {
  const state = useStateOf(step);
  const figures = useFiguresOf(step);
  const job = `${deployment}--${step}`;
  const mine = workloads.filter((one) => one.step === step);
  return (
    <Drawer title={<code>{step}</code>} label={`step ${step}`} close={close}>
      {state && (
        <p>
          <State word={state.health} /> {state.up}/{state.wanted} up. {state.reason}
        </p>
      )}
      <Facts
        items={[
          ["In", rate(figures?.in)],
          ["Out", rate(figures?.out)],
          ["Errors", rate(figures?.errorRate)],
          ["Refused", figures ? count(figures.refused) : "–"],
          ["Waiting", figures?.waiting == null ? "–" : count(figures.waiting)],
          ["Oldest", seconds(figures?.lag)],
        ]}
      />
      <LastHour of={job} />
      <Section title="Workers">
        {mine.map((one) => (
          <p key={`${one.job} ${one.replica}`}>
            <State word={one.health ?? "progressing"} title={one.reason} /> <code>{one.job}</code> on{" "}
            {one.worker ? (
              <Link to="/workers/$name" params={{ name: one.worker }}>
                <code>{one.worker}</code>
              </Link>
            ) : (
              "no worker"
            )}{" "}
            <Age at={one.since} />
          </p>
        ))}
        {!mine.length && <p className="quiet">Nothing of it is placed.</p>}
      </Section>
      <LastErrors of={job} />
      <Button variant="light" component={Link} to={`/logs?of=${encodeURIComponent(job)}`}>
        Logs of {step}
      </Button>
    </Drawer>
  );
}

interface EdgeGiven {
  deployment: string;
  edge: StepEdge;
  choose: (step: string) => void;
  close: () => void;
}

export function EdgeDrawer({ deployment, edge, choose, close }: EdgeGiven) {
  const from = useFiguresOf(edge.from);
  const to = useFiguresOf(edge.to);
  const name = edge.channel ?? edge.tag ?? edge.kind;
  return (
    <Drawer title={<code>{name}</code>} label={`${edge.kind} ${name}`} close={close}>
      <p>
        {edge.kind === "message" ? "Messages" : "A channel"} from{" "}
        <Button variant="subtle" onClick={() => choose(edge.from)}>
          <code>{edge.from}</code>
        </Button>{" "}
        to{" "}
        <Button variant="subtle" onClick={() => choose(edge.to)}>
          <code>{edge.to}</code>
        </Button>
      </p>
      <Facts
        items={[
          ["Rate", rate(from?.out)],
          ["Waiting", to?.waiting == null ? "–" : count(to.waiting)],
          ["Oldest", seconds(to?.lag)],
        ]}
      />
      <LastHour of={`${deployment}--${edge.to}`} />
      <LastErrors of={`${deployment}--${edge.to}`} />
      <p className="quiet">
        Amber from {LATE} s behind, red from {VERY_LATE} s; a dash is not known.
      </p>
    </Drawer>
  );
}

function LastHour({ of }: { of: string }) {
  const read = useRead("series_get", { of, since: "1h", points: 61 }, { every: 15_000 });
  if (read.error?.code === "not_found")
    return (
      <Section title="The last hour">
        <p className="quiet">Nothing is known yet: it is told of what has run for 20 seconds.</p>
      </Section>
    );
  return (
    <Section title="The last hour">
      <Read of={read}>
        {({ rates }) => (
          <>
            <RateLine name="Events out" values={rates.events_out} of={of} />
            <RateLine name="Errors" values={rates.errors} of={of} />
          </>
        )}
      </Read>
    </Section>
  );
}

function LastErrors({ of }: { of: string }) {
  const read = useRead("log_search", { of, level: "error", limit: ERRORS }, { every: 10_000 });
  return (
    <Section title="Last errors">
      <Read of={read}>
        {(found) =>
          found.items.length ? (
            <ul className="timeline">
              {found.items.map((line) => (
                <li key={`${line.at} ${line.workload}`}>
                  <Age at={line.at} /> <span className="said">{visible(line.text)}</span>
                </li>
              ))}
            </ul>
          ) : (
            <p className="quiet">None is kept.</p>
          )
        }
      </Read>
    </Section>
  );
}
