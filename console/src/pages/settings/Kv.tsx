// The KV store of the jobs: namespaces with their queues, the values of one, and one value.

import { Button, NumberInput, Textarea, TextInput } from "@mantine/core";
import { useState } from "react";
import { useAct } from "../../api/act";
import { call, type Result } from "../../api/client";
import { useAgain, useList, useRead } from "../../api/queries";
import { Age } from "../../parts/Age";
import { Confirm } from "../../parts/Confirm";
import { Dialog } from "../../parts/Dialog";
import { TextFilter, useFilters } from "../../parts/filters";
import { AsWhom, Empty, Facts, Read, Refusal, Section } from "../../parts/Page";
import { Rows } from "../../parts/Rows";
import { useAdmin, useTenant } from "../../parts/session";
import { coded, visible } from "../../words/code";
import { parsed } from "../../words/json";
import { bytes, count } from "../../words/numbers";
import { Sub } from "./Sub";

interface Wanted {
  namespace?: string;
  prefix?: string;
  key?: string;
}

export function Kv() {
  const [wanted, say] = useFilters<Wanted>();
  const admin = useAdmin();
  const [sets, setSets] = useState(false);
  const list = useList("kv_namespaces", {}, { every: 10_000 });
  const used = (list.data?.pages[0] as Result<"kv_namespaces"> | undefined)?.used_bytes;
  return (
    <Sub
      about={`Values, sets and work queues of jobs, which outlive their runs.${used === undefined ? "" : ` ${bytes(used)} are kept.`}`}
      actions={admin && <Button onClick={() => setSets(true)}>Set a value</Button>}
    >
      {!admin && (
        <p className="quiet">
          Setting and deleting keys is for admins
          <AsWhom />
        </p>
      )}
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label="Namespaces"
              rows={list.rows}
              id={(row) => row.namespace}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              columns={[
                {
                  title: "Namespace",
                  cell: (row) => (
                    <Button
                      variant={row.namespace === wanted.namespace ? "light" : "subtle"}
                      size="compact-xs"
                      aria-pressed={row.namespace === wanted.namespace}
                      onClick={() => say({ namespace: row.namespace, prefix: undefined, key: undefined })}
                    >
                      <code>{row.namespace}</code>
                    </Button>
                  ),
                },
                { title: "Items that wait", cell: (row) => count(row.depth), number: true },
                { title: "Leased", cell: (row) => count(row.leased), number: true },
                { title: "Dead", cell: (row) => count(row.dead), number: true },
              ]}
            />
          ) : (
            <Empty command="sluice kv set NAMESPACE KEY VALUE">No job keeps anything in the KV store.</Empty>
          )
        }
      </Read>
      {wanted.namespace && <Keys key={wanted.namespace} namespace={wanted.namespace} wanted={wanted} say={say} />}
      {wanted.namespace && <Dead namespace={wanted.namespace} />}
      {sets && <SetKey namespace={wanted.namespace ?? ""} close={() => setSets(false)} />}
    </Sub>
  );
}

interface Inside {
  namespace: string;
  wanted: Wanted;
  say: (more: { [K in keyof Wanted]?: Wanted[K] | undefined }) => void;
}

function Keys({ namespace, wanted, say }: Inside) {
  const list = useList("kv_list", { namespace, prefix: wanted.prefix ?? "" }, { every: 10_000 });
  return (
    <Section title={`Keys of ${namespace}`}>
      <div className="filters">
        <TextFilter label="Begins with" value={wanted.prefix} set={(prefix) => say({ prefix })} />
        <TextFilter label="Show the key" value={wanted.key} set={(key) => say({ key })} />
      </div>
      <Read of={list}>
        {() =>
          list.rows.length ? (
            <Rows
              label="Keys"
              rows={list.rows}
              id={(row) => row.key}
              more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
              columns={[
                {
                  title: "Key",
                  cell: (row) => (
                    <Button variant="subtle" size="compact-xs" onClick={() => say({ key: row.key })}>
                      <code>{visible(row.key)}</code>
                    </Button>
                  ),
                },
                { title: "Value", cell: (row) => <code>{visible(row.value)}</code> },
                { title: "Characters", cell: (row) => count(row.characters), number: true },
                { title: "Revision", cell: (row) => count(row.revision), number: true },
                { title: "Ends", cell: (row) => <Age at={row.expires_at} /> },
              ]}
            />
          ) : (
            <p className="quiet">No key with a value fits. Sets have none: name their key to see them.</p>
          )
        }
      </Read>
      {wanted.key && <Value namespace={namespace} name={wanted.key} close={() => say({ key: undefined })} />}
    </Section>
  );
}

function Value({ namespace, name, close }: { namespace: string; name: string; close: () => void }) {
  const admin = useAdmin();
  const again = useAgain();
  const read = useRead("kv_get", { namespace, key: name }, { every: 10_000 });
  const [gone, setGone] = useState(false);
  return (
    <Section title={`Value of ${name}`}>
      <Read of={read}>
        {(found) => (
          <>
            <Facts
              items={[
                ["Revision", found.revision],
                ["Format", found.format],
                ["Ends", found.expires_at && <Age key="ends" at={found.expires_at} />],
                ["Members of its set", found.members.length || ""],
              ]}
            />
            {"value" in found && (
              <pre className="text" tabIndex={0}>
                {coded(found.value, 2)}
              </pre>
            )}
            {found.members.length > 0 && (
              <pre className="text" tabIndex={0}>
                {found.members.map(visible).join("\n")}
              </pre>
            )}
            <div className="filters below">
              {admin && (
                <Button variant="light" onClick={() => setGone(true)}>
                  Delete {name}
                </Button>
              )}
              <Button variant="subtle" onClick={close}>
                Close
              </Button>
            </div>
          </>
        )}
      </Read>
      {gone && (
        <Confirm
          operation="kv_delete"
          args={{ namespace, key: name }}
          verb={`Delete ${name}`}
          close={() => setGone(false)}
          done={() => {
            setGone(false);
            close();
            void again("kv_");
          }}
        />
      )}
    </Section>
  );
}

/** Items of the queue that were handed out too often. */
function Dead({ namespace }: { namespace: string }) {
  const admin = useAdmin();
  const tenant = useTenant();
  const again = useAgain();
  const read = useRead("kv_queue", { namespace }, { every: 10_000 });
  const { act, busy, problem } = useAct();
  const [gone, setGone] = useState(false);
  if (!read.data?.dead) return null;
  return (
    <Section title="Dead items of its queue">
      <Rows
        label="Dead items"
        rows={read.data.dead_items.map((item, place) => ({ ...item, place }))}
        id={(row) => String(row.place)}
        columns={[
          { title: "Item", cell: (row) => <code>{visible(row.value)}</code> },
          { title: "Characters", cell: (row) => count(row.characters), number: true },
          { title: "Tries", cell: (row) => count(row.attempts), number: true },
        ]}
      />
      {problem && <Refusal problem={problem} />}
      {admin && (
        <div className="filters below">
          <Button
            variant="light"
            loading={busy}
            onClick={() =>
              void act(async () => {
                await call("kv_dead_items", { namespace, action: "requeue" }, { tenant });
                void again("kv_");
              })
            }
          >
            Requeue the dead items
          </Button>
          <Button variant="subtle" onClick={() => setGone(true)}>
            Discard the dead items
          </Button>
        </div>
      )}
      {gone && (
        <Confirm
          operation="kv_dead_items"
          args={{ namespace, action: "discard" }}
          verb="Discard the dead items"
          close={() => setGone(false)}
          done={() => {
            setGone(false);
            void again("kv_");
          }}
        />
      )}
    </Section>
  );
}

function SetKey({ namespace, close }: { namespace: string; close: () => void }) {
  const tenant = useTenant();
  const again = useAgain();
  const [space, setSpace] = useState(namespace);
  const [key, setKey] = useState("");
  const [text, setText] = useState("");
  const [seconds, setSeconds] = useState<string | number>("");
  return (
    <Dialog
      title="Set the value of a key"
      verb="Set it"
      ready={!!space && !!key}
      close={close}
      submit={async () => {
        const ends = seconds === "" ? {} : { ttl_ms: Number(seconds) * 1000 };
        await call("kv_set", { namespace: space, key, value: parsed(text, "The value"), ...ends }, { tenant });
        void again("kv_");
        close();
      }}
    >
      <TextInput label="Namespace" required value={space} onChange={(event) => setSpace(event.currentTarget.value)} />
      <TextInput label="Key" required value={key} onChange={(event) => setKey(event.currentTarget.value)} />
      <Textarea
        label="Value as JSON"
        description={'A text in quotes: "like this".'}
        autosize
        minRows={2}
        maxRows={12}
        value={text}
        onChange={(event) => setText(event.currentTarget.value)}
      />
      <NumberInput label="Forget it after seconds" placeholder="never" min={1} value={seconds} onChange={setSeconds} />
    </Dialog>
  );
}
