// Secrets: their names. A value goes to the engine and is kept nowhere in the page: the field is not one of React's state,
// and is emptied when it was sent.

import { Button, TextInput } from "@mantine/core";
import { useRef, useState } from "react";
import { call } from "../../api/client";
import { useAgain, useList } from "../../api/queries";
import { Age } from "../../parts/Age";
import { Confirm } from "../../parts/Confirm";
import { Dialog } from "../../parts/Dialog";
import { Empty, ForAdmins, Read } from "../../parts/Page";
import { Rows } from "../../parts/Rows";
import { Small } from "../../parts/Small";
import { State } from "../../parts/State";
import { useAdmin, useSession, useTenant } from "../../parts/session";
import { Sub } from "./Sub";

export function Secrets() {
  const admin = useAdmin();
  const { identity } = useSession();
  const again = useAgain();
  const [change, setChange] = useState<string | null>(null);
  const [rotates, setRotates] = useState(false);
  return (
    <Sub
      about={
        <>
          Values that jobs name as <code>$&#123;secret|scope/name&#125;</code>. They can be set and never read back.
        </>
      }
      actions={
        admin && (
          <>
            {identity.platform && (
              <Button variant="subtle" onClick={() => setRotates(true)}>
                Encrypt all with a new key
              </Button>
            )}
            <Button onClick={() => setChange("")}>Set a secret</Button>
          </>
        )
      }
    >
      <ForAdmins what="Looking at secrets">
        <List set={setChange} />
      </ForAdmins>
      {change !== null && <SetSecret name={change} close={() => setChange(null)} done={() => void again("secret_")} />}
      {rotates && (
        <Confirm
          operation="secret_rotate_key"
          args={{}}
          verb="Encrypt all with a new key"
          close={() => setRotates(false)}
          done={() => {
            setRotates(false);
            void again("secret_");
          }}
        />
      )}
    </Sub>
  );
}

function List({ set }: { set: (name: string) => void }) {
  const again = useAgain();
  const list = useList("secret_list", {}, { every: 30_000 });
  const [gone, setGone] = useState<string | null>(null);
  return (
    <>
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label="Secrets"
              rows={list.rows}
              id={(row) => row.name}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              total={list.total}
              columns={[
                { title: "Secret", cell: (row) => <code>{row.name}</code> },
                {
                  title: "Version",
                  cell: (row) =>
                    row.version || <State word="missing" title="Jobs use it, and it is not set: they fail." />,
                  number: true,
                },
                { title: "Set", cell: (row) => <Age at={row.updated_at} /> },
                { title: "By", cell: (row) => row.updated_by },
                { title: "Used by", cell: (row) => row.used_by.join(", ") || "–" },
                {
                  title: "Do",
                  cell: (row) => (
                    <span className="row-actions">
                      <Small label={`${row.version ? "Replace" : "Set"} ${row.name}`} onClick={() => set(row.name)}>
                        {row.version ? "Replace" : "Set"}
                      </Small>
                      {row.version > 0 && (
                        <Small label={`Delete ${row.name}`} onClick={() => setGone(row.name)}>
                          Delete
                        </Small>
                      )}
                    </span>
                  ),
                },
              ]}
            />
          ) : (
            <Empty command="sluice secret set scope/name">
              Passwords and keys that jobs need are secrets: encrypted here, and handed only to jobs that name them.
              None is set.
            </Empty>
          )
        }
      </Read>
      {gone && (
        <Confirm
          operation="secret_delete"
          args={{ name: gone }}
          verb={`Delete ${gone}`}
          typed={gone}
          close={() => setGone(null)}
          done={() => {
            setGone(null);
            void again("secret_");
          }}
        />
      )}
    </>
  );
}

function SetSecret({ name, close, done }: { name: string; close: () => void; done: () => void }) {
  const tenant = useTenant();
  const [called, setCalled] = useState(name);
  const value = useRef<HTMLInputElement>(null);
  return (
    <Dialog
      title={name ? `A new value for ${name}` : "Set a secret"}
      verb="Set it"
      ready={!!called}
      close={close}
      submit={async () => {
        const field = value.current;
        if (!field) return;
        await call("secret_set", { name: called, value: field.value }, { tenant });
        field.value = "";
        done();
        close();
      }}
    >
      <TextInput
        label="Name"
        description="scope/name, or a name alone, whose scope is then default."
        required
        disabled={!!name}
        value={called}
        onChange={(event) => setCalled(event.currentTarget.value)}
      />
      <TextInput
        ref={value}
        label="Value"
        description="Kept encrypted and never shown again. Jobs that use it get it at once."
        type="password"
        autoComplete="new-password"
        required
      />
    </Dialog>
  );
}
