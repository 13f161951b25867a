// Dynamic variables: what jobs read as ${dyn|NAME} while they run.

import { Button, Textarea, TextInput } from "@mantine/core";
import { useState } from "react";
import { call, type RowOf } from "../../api/client";
import { useAgain, useList } from "../../api/queries";
import { Age } from "../../parts/Age";
import { Confirm } from "../../parts/Confirm";
import { Dialog } from "../../parts/Dialog";
import { Empty, ForAdmins, Read } from "../../parts/Page";
import { Rows } from "../../parts/Rows";
import { Small } from "../../parts/Small";
import { useAdmin, useTenant } from "../../parts/session";
import { visible } from "../../words/code";
import { Sub } from "./Sub";

export function Variables() {
  const admin = useAdmin();
  const [change, setChange] = useState<RowOf<"variable_list"> | "new" | null>(null);
  return (
    <Sub
      about={
        <>
          Texts that jobs read as <code>$&#123;dyn|NAME&#125;</code> while they run. A change counts at once, without a
          deployment.
        </>
      }
      actions={admin && <Button onClick={() => setChange("new")}>Set a variable</Button>}
    >
      <ForAdmins what="Looking at variables">
        <List change={change} setChange={setChange} />
      </ForAdmins>
    </Sub>
  );
}

type Change = RowOf<"variable_list"> | "new" | null;

function List({ change, setChange }: { change: Change; setChange: (change: Change) => void }) {
  const again = useAgain();
  const list = useList("variable_list", {}, { every: 10_000 });
  const [gone, setGone] = useState<string | null>(null);
  return (
    <>
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label="Variables"
              rows={list.rows}
              id={(row) => row.name}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={[
                { title: "Variable", cell: (row) => <code>{row.name}</code> },
                { title: "Value", cell: (row) => <code title={visible(row.value)}>{visible(row.value)}</code> },
                { title: "Set", cell: (row) => <Age at={row.updated_at} /> },
                { title: "By", cell: (row) => row.updated_by },
                {
                  title: "Do",
                  cell: (row) => (
                    <span className="row-actions">
                      <Small label={`Change ${row.name}`} onClick={() => setChange(row)}>
                        Change
                      </Small>
                      <Small label={`Remove ${row.name}`} onClick={() => setGone(row.name)}>
                        Remove
                      </Small>
                    </span>
                  ),
                },
              ]}
            />
          ) : (
            <Empty command="sluice variable set NAME VALUE">
              People and jobs set variables, and jobs see each change while they run. There is none.
            </Empty>
          )
        }
      </Read>
      {change && (
        <SetVariable
          before={change === "new" ? null : change}
          close={() => setChange(null)}
          done={() => void again("variable_")}
        />
      )}
      {gone && (
        <Confirm
          operation="variable_delete"
          args={{ name: gone }}
          verb={`Remove ${gone}`}
          close={() => setGone(null)}
          done={() => {
            setGone(null);
            void again("variable_");
          }}
        />
      )}
    </>
  );
}

interface Setting {
  before: RowOf<"variable_list"> | null;
  close: () => void;
  done: () => void;
}

function SetVariable({ before, close, done }: Setting) {
  const tenant = useTenant();
  const [name, setName] = useState(before?.name ?? "");
  const [value, setValue] = useState(before?.value ?? "");
  return (
    <Dialog
      title={before ? `Change ${before.name}` : "Set a variable"}
      verb="Set it"
      ready={!!name}
      close={close}
      submit={async () => {
        await call("variable_set", { name, value }, { tenant });
        done();
        close();
      }}
    >
      <TextInput
        label="Name"
        required
        disabled={!!before}
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
      />
      <Textarea
        label="Value"
        description="Admins of this tenant can read it; a password is a secret."
        autosize
        minRows={2}
        maxRows={12}
        value={value}
        onChange={(event) => setValue(event.currentTarget.value)}
      />
    </Dialog>
  );
}
