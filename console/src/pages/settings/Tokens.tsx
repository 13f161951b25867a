// API tokens, and the sessions of browsers, which are tokens too: whom each stands for, and what it may.

import { Button, Checkbox, Modal, Select, TextInput } from "@mantine/core";
import { useState } from "react";
import { call, type RowOf } from "../../api/client";
import { useAgain, useList } from "../../api/queries";
import { Age } from "../../parts/Age";
import { Confirm } from "../../parts/Confirm";
import { Dialog } from "../../parts/Dialog";
import { useFilters } from "../../parts/filters";
import { Facts, ForAdmins, Read, Section } from "../../parts/Page";
import { Rows } from "../../parts/Rows";
import { Small } from "../../parts/Small";
import { State } from "../../parts/State";
import { useAdmin, useSession, useTenant } from "../../parts/session";
import { now } from "../../words/times";
import { Sub } from "./Sub";

type Token = RowOf<"token_list">;

const BROWSER = "browser"; // the name of the token of a browser's session
const HOURS = { "1 hour": 1, "1 day": 24, "3 days": 72 };

export const stateOf = (token: Pick<Token, "revoked" | "expires_at">, at = now()): string =>
  token.revoked ? "revoked" : token.expires_at && Date.parse(token.expires_at) <= at ? "expired" : "valid";

export function Tokens() {
  const { identity } = useSession();
  const admin = useAdmin();
  const [makes, setMakes] = useState(false);
  return (
    <Sub
      about="A token stands for a user in the API, in MCP over HTTP and here. A user is whoever has a token; the role is admin or user."
      actions={admin && <Button onClick={() => setMakes(true)}>Create a token</Button>}
    >
      <Facts
        items={[
          ["You are", identity.username],
          ["Role", identity.role],
          ["Tenants", identity.tenants.join(", ")],
          ["Platform", identity.platform ? "yes" : "no"],
          ["Limited to", identity.scopes.join(", ")],
        ]}
      />
      <ForAdmins what="Looking at tokens">
        <List />
      </ForAdmins>
      {makes && <Create close={() => setMakes(false)} />}
    </Sub>
  );
}

function List() {
  const again = useAgain();
  const [wanted, say] = useFilters<{ all?: boolean }>();
  const list = useList("token_list", {}, { every: 30_000 });
  const [gone, setGone] = useState<Token | null>(null);
  const rows = wanted.all ? list.rows : list.rows.filter((row) => stateOf(row) === "valid");
  return (
    <Section title="Tokens">
      <div className="filters">
        <Checkbox
          label="Also those that are over"
          checked={wanted.all ?? false}
          onChange={(event) => say({ all: event.currentTarget.checked || undefined })}
        />
      </div>
      <Read of={list}>
        {() => (
          <Rows
            label="Tokens"
            rows={rows}
            id={(row) => row.id}
            more={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
            columns={[
              { title: "State", cell: (row) => <State word={stateOf(row)} /> },
              { title: "User", cell: (row) => <code>{row.username}</code> },
              { title: "Role", cell: (row) => row.role },
              { title: "For", cell: (row) => (row.name === BROWSER ? "a browser's session" : row.name || "–") },
              { title: "Tenants", cell: (row) => row.tenants.join(", ") },
              { title: "Limited to", cell: (row) => row.scopes.join(", ") || (row.platform ? "platform" : "–") },
              { title: "Used", cell: (row) => <Age at={row.last_used_at} /> },
              { title: "Ends", cell: (row) => (row.expires_at ? <Age at={row.expires_at} /> : "never") },
              { title: "Made", cell: (row) => <Age at={row.created_at} /> },
              {
                title: "Do",
                cell: (row) =>
                  stateOf(row) === "valid" && (
                    <Small label={`Revoke ${row.name || row.id} of ${row.username}`} onClick={() => setGone(row)}>
                      Revoke
                    </Small>
                  ),
              },
              { title: "Token", cell: (row) => <code>{row.id}</code> },
            ]}
          />
        )}
      </Read>
      {gone && (
        <Confirm
          operation="token_revoke"
          args={{ id: gone.id }}
          verb="Revoke this token"
          close={() => setGone(null)}
          done={() => {
            setGone(null);
            void again("token_");
          }}
        />
      )}
    </Section>
  );
}

const listed = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean);

/** The secret of a token, which nobody can look at again: it goes with this dialog. */
function Told({ secret, close }: { secret: string; close: () => void }) {
  const [copied, setCopied] = useState(false);
  const copy = () => navigator.clipboard.writeText(secret).then(() => setCopied(true));
  return (
    <Modal
      opened
      onClose={close}
      closeOnClickOutside={false}
      title="The token, this once"
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <div className="fields">
        <p>Copy it now: only its hash is kept, and nobody can show it again.</p>
        <pre className="text wrapped">{secret}</pre>
        <div className="filters">
          <Button onClick={() => void copy()}>Copy it</Button>
          <Button variant="subtle" onClick={close}>
            Done
          </Button>
          <span role="status">{copied && "It is copied."}</span>
        </div>
      </div>
    </Modal>
  );
}

function Create({ close }: { close: () => void }) {
  const tenant = useTenant();
  const { identity } = useSession();
  const again = useAgain();
  const [secret, setSecret] = useState("");
  const [name, setName] = useState("");
  const [username, setUsername] = useState("");
  const [role, setRole] = useState<Token["role"]>("user");
  const [tenants, setTenants] = useState(tenant);
  const [scopes, setScopes] = useState("");
  const [ends, setEnds] = useState<keyof typeof HOURS | null>(null);
  const [platform, setPlatform] = useState(false);
  if (secret) return <Told secret={secret} close={close} />;
  return (
    <Dialog
      title="Create a token"
      verb="Create it"
      ready={!!username && listed(tenants).length > 0}
      close={close}
      submit={async () => {
        const limit = ends ? { expires_in_seconds: HOURS[ends] * 3600 } : {};
        const made = await call(
          "token_create",
          { name, username, role, tenants: listed(tenants), scopes: listed(scopes), platform, ...limit },
          { tenant },
        );
        setSecret(made.token);
        void again("token_");
      }}
    >
      <TextInput label="What it is for" value={name} onChange={(event) => setName(event.currentTarget.value)} />
      <TextInput
        label="User"
        description="Whom it stands for: lower-case letters, digits and . _ @ + -"
        required
        value={username}
        onChange={(event) => setUsername(event.currentTarget.value)}
      />
      <Select
        label="Role"
        data={["viewer", "user", "operator", "admin"] satisfies Token["role"][]}
        value={role}
        allowDeselect={false}
        onChange={(chosen) => chosen && setRole(chosen as Token["role"])}
      />
      <TextInput
        label="Tenants"
        description="With commas between them; * for every one."
        required
        value={tenants}
        onChange={(event) => setTenants(event.currentTarget.value)}
      />
      <TextInput
        label="Limited to"
        description="read, toolset:NAME, operation:NAME or trigger:SLUG, with commas; nothing for all that its role may."
        value={scopes}
        onChange={(event) => setScopes(event.currentTarget.value)}
      />
      <Select
        label="Ends after"
        description="It ends with what makes it at the latest: here with this browser's session, also when you sign out. One that outlives it is made with sluice token create."
        placeholder="with this session"
        data={Object.keys(HOURS)}
        value={ends}
        clearable
        onChange={(chosen) => setEnds(chosen as keyof typeof HOURS | null)}
      />
      {identity.platform && (
        <Checkbox
          label="Also on what all tenants share"
          checked={platform}
          onChange={(event) => setPlatform(event.currentTarget.checked)}
        />
      )}
    </Dialog>
  );
}
