// Why a thing is as it is: what led to it, by time, when it was down, and the calls that help.

import type { Args } from "../api/client";
import { useRead } from "../api/queries";
import { Age } from "../parts/Age";
import { Read, Section } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { coded } from "../words/code";

export function Explain({ kind, id }: { kind: Args<"explain">["kind"]; id: string }) {
  const read = useRead("explain", { kind, id }, { every: 10_000 });
  return (
    <Read of={read}>
      {(told) => (
        <>
          <p>{told.summary}</p>
          {told.responsible?.map((one) => (
            <p key={`${one.kind} ${one.name} ${one.at}`}>
              {one.sure ? "Responsible: " : "Likely: "}
              {one.kind} <code>{one.name}</code> is <code className="after">{coded(one.value)}</code>
              {one.before !== undefined && (
                <>
                  , was <code className="before">{coded(one.before)}</code>
                </>
              )}{" "}
              (<code>{one.at}</code>, in {one.jobs.join(", ")})
            </p>
          ))}
          {told.because.length > 0 && (
            <Section title="Because">
              <ul className="timeline">
                {told.because.map((cause) => (
                  <li key={`${cause.at} ${cause.what}`}>
                    {cause.at ? <Age at={cause.at} /> : <span className="quiet">now</span>} {cause.what}
                  </li>
                ))}
              </ul>
            </Section>
          )}
          {told.outages && told.outages.length > 0 && (
            <Section title="Outages">
              <Rows
                label="Outages"
                rows={told.outages}
                id={(row) => `${row.from} ${row.cause}`}
                columns={[
                  { title: "From", cell: (row) => <Age at={row.from} /> },
                  { title: "To", cell: (row) => (row.to ? <Age at={row.to} /> : <State word="down" />) },
                  { title: "Cause", cell: (row) => row.cause },
                ]}
              />
            </Section>
          )}
          {told.next.length > 0 && (
            <Section title="What helps">
              {told.next.map((step) => (
                <p key={step.call + step.why}>
                  {step.why} <code>{step.command ?? `${step.call} ${coded(step.arguments)}`}</code>
                </p>
              ))}
            </Section>
          )}
        </>
      )}
    </Read>
  );
}
