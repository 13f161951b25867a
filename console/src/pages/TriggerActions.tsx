// What admins do with a trigger: revise it, stop offering it and offer it again; and how its revisions differ.

import { Button } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { call, type Schemas } from "../api/client";
import { useRead } from "../api/queries";
import { Age } from "../parts/Age";
import { Dialog } from "../parts/Dialog";
import { Read, Section } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { useAdmin, useTenant } from "../parts/session";
import { counted } from "../words/numbers";
import { Differences } from "./TriggerEdit";
import type { Definition } from "./triggerForm";

type Shown = Schemas["Trigger"];

export function TriggerActions({ trigger }: { trigger: Shown }) {
  const admin = useAdmin();
  const tenant = useTenant();
  const client = useQueryClient();
  const [asking, setAsking] = useState(false);
  const [stopped, setStopped] = useState<Schemas["TriggerDeactivated"] | null>(null);
  if (!admin) return null;
  const close = () => {
    setAsking(false);
    setStopped(null);
    void client.invalidateQueries();
  };
  const turn = async () => {
    if (trigger.active) {
      setStopped(await call("trigger_deactivate", { slug: trigger.slug, tenant_id: trigger.tenant_id }, { tenant }));
    } else {
      await call("trigger_revise", trigger.definition as Definition, { tenant });
      close();
    }
  };
  const verb = trigger.active ? "Deactivate" : "Activate";
  return (
    <>
      <Button variant="default" component={Link} to={`/triggers/${trigger.slug}/revise`}>
        Revise
      </Button>
      <Button variant="subtle" onClick={() => setAsking(true)}>
        {verb}
      </Button>
      {asking && (
        <Dialog
          title={`${verb} ${trigger.slug}`}
          verb={`${verb} it`}
          submit={turn}
          close={close}
          ready={stopped === null}
        >
          {stopped ? (
            <div role="status">
              <p>
                It is not offered any more. {counted(stopped.open_total, "run")} under way{" "}
                {stopped.open_total === 1 ? "goes" : "go"} on. Who runs it now hears: {stopped.callers_hear}
              </p>
              {stopped.open_invocations.map((id) => (
                <p key={id}>
                  <Link to="/invocations/$id" params={{ id }}>
                    <code>{id}</code>
                  </Link>
                </p>
              ))}
            </div>
          ) : trigger.active ? (
            <p>It is no longer offered and nobody can run it. Its runs and its history stay, and what runs goes on.</p>
          ) : (
            <p>It is published again as it was, as revision {trigger.revision + 1}.</p>
          )}
        </Dialog>
      )}
    </>
  );
}

export function Revisions({ trigger }: { trigger: Shown }) {
  const [compared, setCompared] = useState<number | null>(null);
  if (trigger.revisions.length < 2) return null;
  return (
    <Section title="Revisions">
      <Rows
        label="Revisions"
        rows={trigger.revisions}
        id={(row) => String(row.revision)}
        columns={[
          { title: "Revision", cell: (row) => row.revision, number: true },
          { title: "Made", cell: (row) => <Age at={row.created_at} /> },
          { title: "By", cell: (row) => row.created_by },
          {
            title: "Compare",
            cell: (row) =>
              row.revision === trigger.revision ? (
                "the present one"
              ) : (
                <Button variant="subtle" onClick={() => setCompared(row.revision)}>
                  Compare {row.revision} with the present
                </Button>
              ),
          },
        ]}
      />
      {compared !== null && <Compared trigger={trigger} with={compared} />}
    </Section>
  );
}

function Compared({ trigger, with: revision }: { trigger: Shown; with: number }) {
  const read = useRead("trigger_get", { slug: trigger.slug, tenant_id: trigger.tenant_id, compare: revision });
  return (
    <Section title={`From revision ${revision} to ${trigger.revision}`}>
      <Read of={read}>
        {({ changes }) =>
          changes?.length ? <Differences items={changes} /> : <p className="quiet">Nothing differs.</p>
        }
      </Read>
    </Section>
  );
}
