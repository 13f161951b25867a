// The values that {{name}} in documents stands for: what a place sees and which level gives it, what is set, what changed.

import { Button, SegmentedControl, Select, Textarea, TextInput } from "@mantine/core";
import { useState } from "react";
import { type Args, call, type RowOf, type Schemas } from "../../api/client";
import { useAgain, useList, useRead } from "../../api/queries";
import { Age } from "../../parts/Age";
import { Confirm } from "../../parts/Confirm";
import { Dialog } from "../../parts/Dialog";
import { given, TextFilter, useFilters } from "../../parts/filters";
import { AsWhom, Empty, Read, Section } from "../../parts/Page";
import { Rows } from "../../parts/Rows";
import { Small } from "../../parts/Small";
import { useAdmin, useTenant } from "../../parts/session";
import { asCode, parsed, shown } from "../../words/json";
import { Sub } from "./Sub";

type Level = Schemas["ContextValue"]["level"];
type Place = Pick<Args<"context_get">, "environment" | "group" | "worker" | "job">;

const LEVELS: Level[] = ["global", "environment", "group", "worker", "job"];
const TARGETS: [keyof Place & string, string][] = [
  ["environment", "Environment"],
  ["group", "Worker group"],
  ["worker", "Worker"],
  ["job", "Job"],
];

/** The arguments that name a place. */
export const placed = (level: Level, target: string): Place => (level === "global" ? {} : { [level]: target });

/** A place in one word. */
const placeOf = (level: Level, target: string) => (level === "global" ? "global" : `${level} ${target}`);

export function Contexts() {
  const [wanted, say] = useFilters<{ environment?: string; group?: string; worker?: string; job?: string }>();
  const admin = useAdmin();
  const again = useAgain();
  const [change, setChange] = useState<RowOf<"context_list"> | "new" | null>(null);
  const [gone, setGone] = useState<RowOf<"context_list"> | null>(null);
  const seen = useRead("context_get", given(wanted));
  const set = useList("context_list", {});
  return (
    <Sub
      about={
        <>
          What <code>{"{{name}}"}</code> in documents stands for. A job's own value wins, then the worker's, the
          group's, the environment's, the global one; a document's own <code>context:</code> wins over all of them.
        </>
      }
      actions={admin && <Button onClick={() => setChange("new")}>Set a value</Button>}
    >
      {!admin && (
        <p className="quiet">
          Setting values is for admins
          <AsWhom />
        </p>
      )}
      <Section title="What a job sees">
        <div className="filters">
          {TARGETS.map(([level, label]) => (
            <TextFilter key={level} label={label} value={wanted[level]} set={(target) => say({ [level]: target })} />
          ))}
        </div>
        <Read of={seen}>{(found) => <Effective found={found} />}</Read>
      </Section>
      <Section title="Values that are set">
        <Read of={set}>
          {() =>
            set.rows.length ? (
              <Rows
                label="Values that are set"
                rows={set.rows}
                id={(row) => `${row.level}/${row.target}/${row.key}`}
                more={set.hasNextPage ? () => void set.fetchNextPage() : undefined}
                total={set.total}
                columns={[
                  { title: "Place", cell: (row) => placeOf(row.level, row.target) },
                  { title: "Key", cell: (row) => <code>{row.key}</code> },
                  { title: "Value", cell: (row) => <code title={asCode(row.value)}>{asCode(row.value)}</code> },
                  { title: "Set", cell: (row) => <Age at={row.updated_at} /> },
                  { title: "By", cell: (row) => row.updated_by },
                  ...(admin
                    ? [
                        {
                          title: "Do",
                          cell: (row: RowOf<"context_list">) => (
                            <span className="row-actions">
                              <Small label={`Change ${row.key}`} onClick={() => setChange(row)}>
                                Change
                              </Small>
                              <Small label={`Remove ${row.key}`} onClick={() => setGone(row)}>
                                Remove
                              </Small>
                            </span>
                          ),
                        },
                      ]
                    : []),
                ]}
              />
            ) : (
              <Empty command="sluice context set REGION=eu --environment prod">
                A context value is what a placeholder in a document stands for, so that one document runs in several
                places. None is set.
              </Empty>
            )
          }
        </Read>
      </Section>
      <History />
      {change && (
        <SetValue
          before={change === "new" ? null : change}
          close={() => setChange(null)}
          done={() => void again("context_")}
        />
      )}
      {gone && (
        <Confirm
          operation="context_delete"
          args={{ ...placed(gone.level, gone.target), keys: [gone.key] }}
          verb={`Remove ${gone.key}`}
          close={() => setGone(null)}
          done={() => {
            setGone(null);
            void again("context_");
          }}
        />
      )}
    </Sub>
  );
}

function Effective({ found }: { found: Schemas["EffectiveContext"] }) {
  const keys = Object.keys(found.values).sort();
  if (!keys.length) return <p className="quiet">A job in this place sees no value.</p>;
  return (
    <Rows
      label="What a job sees"
      rows={keys}
      id={(key) => key}
      columns={[
        { title: "Key", cell: (key) => <code>{key}</code> },
        { title: "Value", cell: (key) => <code title={asCode(found.values[key])}>{asCode(found.values[key])}</code> },
        { title: "From", cell: (key) => found.from[key] },
        {
          title: "Hides",
          cell: (key) =>
            Object.entries(found.hides[key] ?? {})
              .map(([place, value]) => `${place}: ${asCode(value)}`)
              .join(", "),
        },
      ]}
    />
  );
}

function History() {
  const list = useList("context_history", { limit: 25 });
  if (!list.rows.length) return null;
  return (
    <Section title="What was changed">
      <Rows
        label="What was changed"
        rows={list.rows}
        id={(row) => `${row.at}/${row.level}/${row.target}/${row.key}`}
        more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
        columns={[
          { title: "At", cell: (row) => <Age at={row.at} /> },
          { title: "By", cell: (row) => row.by },
          { title: "Door", cell: (row) => row.surface },
          { title: "Place", cell: (row) => placeOf(row.level, row.target) },
          { title: "Key", cell: (row) => <code>{row.key}</code> },
          { title: "Before", cell: (row) => ("old" in row ? <code>{asCode(row.old)}</code> : "–") },
          { title: "After", cell: (row) => ("new" in row ? <code>{asCode(row.new)}</code> : "removed") },
        ]}
      />
    </Section>
  );
}

interface Setting {
  before: RowOf<"context_list"> | null;
  close: () => void;
  done: () => void;
}

function SetValue({ before, close, done }: Setting) {
  const tenant = useTenant();
  const [level, setLevel] = useState<Level>(before?.level ?? "global");
  const [target, setTarget] = useState(before?.target ?? "");
  const [key, setKey] = useState(before?.key ?? "");
  const [text, setText] = useState(before ? shown(before.value) : "");
  const [form, setForm] = useState(before && typeof before.value !== "string" ? "json" : "text");
  return (
    <Dialog
      title={before ? `Change ${before.key}` : "Set a context value"}
      verb="Set it"
      ready={!!key && (level === "global" || !!target)}
      close={close}
      submit={async () => {
        const value = form === "json" ? parsed(text, "The value") : text;
        await call("context_set", { ...placed(level, target), values: { [key]: value } }, { tenant });
        done();
        close();
      }}
    >
      <Select
        label="Level"
        data={LEVELS}
        value={level}
        allowDeselect={false}
        disabled={!!before}
        onChange={(chosen) => setLevel((chosen ?? "global") as Level)}
      />
      {level !== "global" && (
        <TextInput
          label={`Name of the ${level}`}
          required
          disabled={!!before}
          value={target}
          onChange={(event) => setTarget(event.currentTarget.value)}
        />
      )}
      <TextInput
        label="Key"
        required
        disabled={!!before}
        value={key}
        onChange={(event) => setKey(event.currentTarget.value)}
      />
      <Textarea
        label="Value"
        description="Not for passwords: it ends up in documents. A password is a secret."
        autosize
        minRows={2}
        maxRows={12}
        value={text}
        onChange={(event) => setText(event.currentTarget.value)}
      />
      <SegmentedControl
        aria-label="The value is"
        data={[
          { value: "text", label: "Text" },
          { value: "json", label: "JSON" },
        ]}
        value={form}
        onChange={setForm}
      />
      <p className="quiet">What is deployed stays as it is until it is deployed or planned again.</p>
    </Dialog>
  );
}
