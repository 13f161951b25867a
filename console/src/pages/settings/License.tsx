// The license in force: its edition, what it opens and what it does not; and how much this tenant keeps.

import { Button, Textarea } from "@mantine/core";
import { useState } from "react";
import { call } from "../../api/client";
import { useAgain, useRead } from "../../api/queries";
import { Age } from "../../parts/Age";
import { Dialog } from "../../parts/Dialog";
import { Facts, Read, Section } from "../../parts/Page";
import { Rows } from "../../parts/Rows";
import { State } from "../../parts/State";
import { useAdmin, useSession, useTenant } from "../../parts/session";
import { bytes, count } from "../../words/numbers";
import { Sub } from "./Sub";

const OPENS: Record<string, string> = {
  deployments: "Planning, applying and reconciling deployments",
  "mcp-server": "Every call that comes over MCP",
  portal: "Items of the catalog that portals offer",
  "external-workers": "Workers of other machines",
};

const STATUS: Record<string, string> = {
  none: "There is no license file: everything is on.",
  valid: "",
  grace: "It is over, and holds for a few days more: install a new one.",
  expired: "It is over: install a new one.",
  invalid: "The file is not signed by a trusted key, or was changed: install another one.",
  community: "The setting edition = community chooses this edition.",
};

export function License() {
  const admin = useAdmin();
  const { identity } = useSession();
  const [installs, setInstalls] = useState(false);
  const read = useRead("license_show", {});
  const may = admin && identity.platform;
  return (
    <Sub
      about="Which edition is in force, and what it opens. What already runs goes on running, whatever the license says."
      actions={may && <Button onClick={() => setInstalls(true)}>Install a license</Button>}
    >
      {!may && <p className="quiet">Installing a license is for admins of the platform.</p>}
      <Read of={read}>
        {(license) => (
          <>
            {(license.reason || STATUS[license.status]) && (
              <div className={`note${["none", "valid", "community"].includes(license.status) ? "" : " warning"}`}>
                <p>{[license.reason, STATUS[license.status]].filter(Boolean).join(" ")}</p>
              </div>
            )}
            {license.features.deployments === false && (
              <div className="note warning">
                <p>
                  Deployments cannot be planned, applied or reconciled: the {license.edition} edition does not open
                  them. Single jobs can still be staged and deployed.
                </p>
              </div>
            )}
            <Facts
              items={[
                ["Edition", license.edition],
                ["Status", license.status],
                ["Customer", license.customer],
                ["License", license.id && <code key="id">{license.id}</code>],
                ["Ends", license.expires_at ? <Age key="at" at={license.expires_at} /> : "never"],
                ["Workers at most", license.limits.workers ?? "no limit"],
                ["Jobs at most", license.limits.jobs ?? "no limit"],
              ]}
            />
            <Section title="What it opens">
              <Rows
                label="What it opens"
                rows={Object.entries(license.features)}
                id={([feature]) => feature}
                columns={[
                  { title: "State", cell: ([, open]) => <State word={open ? "open" : "closed"} /> },
                  { title: "Feature", cell: ([feature]) => <code>{feature}</code> },
                  { title: "What needs it", cell: ([feature]) => OPENS[feature] ?? "" },
                ]}
              />
            </Section>
          </>
        )}
      </Read>
      <Usage />
      {installs && <Install close={() => setInstalls(false)} />}
    </Sub>
  );
}

function Usage() {
  const read = useRead("usage_get", {}, { every: 30_000 });
  return (
    <Section title="What this tenant keeps">
      <Read of={read}>
        {(usage) => (
          <Rows
            label="What this tenant keeps"
            rows={usage.items}
            id={(row) => row.what}
            columns={[
              { title: "What", cell: (row) => row.what.replaceAll("_", " ") },
              { title: "Records", cell: (row) => (row.records === null ? "–" : count(row.records)), number: true },
              { title: "Takes", cell: (row) => bytes(row.bytes), number: true },
              { title: "At most", cell: (row) => bytes(row.most_bytes), number: true },
              { title: "Setting", cell: (row) => <code>{row.setting}</code> },
            ]}
          />
        )}
      </Read>
    </Section>
  );
}

function Install({ close }: { close: () => void }) {
  const tenant = useTenant();
  const again = useAgain();
  const [text, setText] = useState("");
  return (
    <Dialog
      title="Install a license"
      verb="Install it"
      ready={!!text.trim()}
      close={close}
      submit={async () => {
        await call("license_install", { document: text }, { tenant });
        void again("license_");
        close();
      }}
    >
      <Textarea
        label="The content of the license file"
        description="It takes effect at once. One that is not trusted, or is over, changes nothing."
        autosize
        minRows={4}
        maxRows={12}
        value={text}
        onChange={(event) => setText(event.currentTarget.value)}
      />
    </Dialog>
  );
}
