// One document of the workspace: its draft, its versions, and what can be done with each.

import { Button, Modal, TextInput } from "@mantine/core";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { useAct } from "../api/act";
import { call, type Schemas } from "../api/client";
import { useRead } from "../api/queries";
import { Graph } from "../graph/Graph";
import { Age } from "../parts/Age";
import { AsWhom, Facts, Head, Read, Refusal, Section } from "../parts/Page";
import { Rows } from "../parts/Rows";
import { State } from "../parts/State";
import { useAdmin, useTenant } from "../parts/session";
import { DEPLOYS } from "./Item";

export type Kind = Schemas["Workflow"]["type"];
type Shown = Schemas["Workflow"];
type Version = Schemas["WorkflowVersion"];

export const useDocument = () => useParams({ strict: false }) as { kind: Kind; slug: string };

export function Document() {
  const { kind, slug } = useDocument();
  const { published } = useSearch({ strict: false }) as { published?: string | number };
  const read = useRead("workflow_get", { slug, type: kind });
  return (
    <Read of={read}>
      {(item) => (
        <>
          <Head title={item.title} state={<State word={item.state} />} actions={<Actions item={item} />} />
          {published !== undefined && (
            <div className="note" role="status">
              <p>
                Version {published} is published.{" "}
                {DEPLOYS.has(kind) && (
                  <Link to="/catalog/$kind/$slug/deploy" params={{ kind, slug }}>
                    Deploy it
                  </Link>
                )}
              </p>
            </div>
          )}
          <Facts
            items={[
              ["Document", <code key="name">{`${item.type}:${item.slug}`}</code>],
              ["Source", item.source],
              ["Newest version", item.version],
              ["Draft", item.draft_revision !== null && `revision ${item.draft_revision}`],
              ["Derived from", item.derived_from && <code key="from">{item.derived_from}</code>],
              ["Changed", item.updated_at && <Age key="at" at={item.updated_at} />],
              ["By", item.updated_by],
              [
                "Catalog",
                item.version !== null && (
                  <Link key="item" to="/catalog/$kind/$slug" params={{ kind, slug }}>
                    the item
                  </Link>
                ),
              ],
            ]}
          />
          {item.errors && item.errors.length > 0 && <div className="note warning">{item.message}</div>}
          {item.graph.nodes.length > 0 && <Graph graph={item.graph} label={`The steps of ${item.title}`} />}
          <Section title="Versions">
            <Versions item={item} />
          </Section>
        </>
      )}
    </Read>
  );
}

function Actions({ item }: { item: Shown }) {
  const admin = useAdmin();
  const [copying, setCopying] = useState(false);
  const [leaving, setLeaving] = useState(false);
  if (!admin)
    return (
      <span className="quiet">
        Editing is for admins
        <AsWhom />
      </span>
    );
  const params = { kind: item.type, slug: item.slug };
  const mine = item.source === "local";
  return (
    <>
      {item.draft_revision !== null && (
        <Button variant="subtle" onClick={() => setLeaving(true)}>
          Throw the draft away
        </Button>
      )}
      {item.version !== null && (
        <Button variant="subtle" onClick={() => setCopying(true)}>
          {mine && item.draft_revision === null ? "New version" : "Copy"}
        </Button>
      )}
      {item.version !== null && DEPLOYS.has(item.type) && (
        <Button component={Link} to={`/catalog/${item.type}/${item.slug}/deploy`} variant="light">
          Deploy
        </Button>
      )}
      {item.draft_revision !== null && (
        <Button component={Link} to={`/workflows/${params.kind}/${params.slug}/edit`}>
          Edit draft
        </Button>
      )}
      {copying && <Copying item={item} close={() => setCopying(false)} />}
      {leaving && <Retiring item={item} version="draft" close={() => setLeaving(false)} />}
    </>
  );
}

/** A draft made of a version: under the same slug for the next version of an own document, else under another one. */
function Copying({ item, close }: { item: Shown; close: () => void }) {
  const tenant = useTenant();
  const navigate = useNavigate();
  const { act, busy, problem } = useAct();
  const next = item.source === "local" && item.draft_revision === null;
  const [slug, setSlug] = useState(next ? item.slug : `my-${item.slug}`);
  const copy = () =>
    act(async () => {
      const made = await call("workflow_clone", { slug: item.slug, type: item.type, new_slug: slug }, { tenant });
      await navigate({ to: "/workflows/$kind/$slug/edit", params: { kind: made.type, slug: made.slug } });
    });
  return (
    <Modal
      opened
      onClose={close}
      closeOnClickOutside={false}
      title={`A draft of ${item.title}`}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void copy();
        }}
        style={{ display: "grid", gap: 12 }}
      >
        <TextInput
          label="Slug of the draft"
          description={
            next ? "The same slug makes the next version." : "What comes from elsewhere is copied under another slug."
          }
          required
          data-autofocus
          value={slug}
          onChange={(event) => setSlug(event.currentTarget.value)}
        />
        {item.type === "perspective" && (
          <p className="quiet">It becomes the draft of a workflow; each open slot is then a fault until it is bound.</p>
        )}
        {problem && <Refusal problem={problem} />}
        <Button type="submit" loading={busy}>
          Make the draft
        </Button>
      </form>
    </Modal>
  );
}

interface Going {
  item: Shown;
  version: string | number;
  close: () => void;
}

function Retiring({ item, version, close }: Going) {
  const tenant = useTenant();
  const navigate = useNavigate();
  const { act, busy, problem } = useAct();
  const draft = version === "draft";
  const retire = () =>
    act(async () => {
      await call("workflow_retire", { slug: item.slug, type: item.type, version }, { tenant });
      if (draft && item.version === null) await navigate({ to: "/workflows" });
      close();
    });
  return (
    <Modal
      opened
      onClose={close}
      title={draft ? "Throw the draft away?" : `Retire version ${version}?`}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <p>
        {draft
          ? `The draft of ${item.type} ${item.slug} goes for good, with revision ${item.draft_revision}.`
          : `Version ${version} of ${item.type} ${item.slug} goes out of the offer for good. What is deployed goes on.`}
      </p>
      {problem && <Refusal problem={problem} />}
      <Button color="red" loading={busy} onClick={() => void retire()}>
        {draft ? "Throw it away" : `Retire version ${version}`}
      </Button>
    </Modal>
  );
}

function Versions({ item }: { item: Shown }) {
  const admin = useAdmin();
  const [going, setGoing] = useState<string | number | null>(null);
  const newest = item.versions.at(-1)?.version;
  const rows = item.versions.toReversed();
  const compared = (to: string | number, from?: string | number) => (
    <Link
      to="/workflows/$kind/$slug/compare"
      params={{ kind: item.type, slug: item.slug }}
      search={{ to, ...(from === undefined ? {} : { from }) } as never}
    >
      with {from}
    </Link>
  );
  if (!rows.length)
    return (
      <p className="quiet">
        {item.source === "local"
          ? "Nothing of it is published. Publishing the draft makes the first version."
          : `Version ${item.version} comes from ${item.source === "builtin" ? "Sluice" : "a portal"}.`}
      </p>
    );
  const before = (row: Version) => rows[rows.indexOf(row) + 1]?.version;
  return (
    <>
      {item.draft_revision !== null && newest !== undefined && <p>Compare the draft {compared("draft", newest)}.</p>}
      <Rows
        label="Versions"
        rows={rows}
        id={(row) => String(row.version)}
        columns={[
          { title: "Version", cell: (row) => row.version, number: true },
          { title: "State", cell: (row) => <State word={row.state} /> },
          { title: "Published", cell: (row) => <Age at={row.published_at} /> },
          { title: "By", cell: (row) => row.updated_by },
          {
            title: "Compare",
            cell: (row) => (before(row) === undefined ? "–" : compared(row.version, before(row))),
          },
          {
            title: "Leave",
            cell: (row) =>
              admin &&
              row.state === "published" && (
                <Button variant="subtle" size="compact-xs" onClick={() => setGoing(row.version)}>
                  Retire
                </Button>
              ),
          },
        ]}
      />
      {going !== null && <Retiring item={item} version={going} close={() => setGoing(null)} />}
    </>
  );
}
