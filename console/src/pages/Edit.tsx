// Edit a draft: what is there is loaded once, and from then on the text in the browser is what counts.

import { Button } from "@mantine/core";
import { Link, useSearch } from "@tanstack/react-router";
import { useRead } from "../api/queries";
import { Editor } from "../editor/Editor";
import { ForAdmins, Head, Read, Refusal } from "../parts/Page";
import { type Kind, useDocument } from "./Document";

export function Edit() {
  const { kind, slug } = useDocument();
  const read = useRead("workflow_get", { slug, type: kind, version: "draft", detail: "detailed" });
  if (read.error?.code === "not_found" && read.data === undefined)
    return (
      <>
        <Head title={slug} />
        <Refusal problem={read.error} />
        <Button component={Link} to={`/workflows/${kind}/${slug}`}>
          Look at its versions
        </Button>
      </>
    );
  return (
    <ForAdmins what="Editing">
      <Read of={{ ...read, error: read.data === undefined ? read.error : null }}>
        {(draft) => (
          <Editor
            key={`${kind}:${slug}`}
            opened={{ kind, slug, text: draft.text ?? "", revision: draft.draft_revision ?? 0 }}
            present={{
              revision: read.error?.code === "not_found" ? null : draft.draft_revision,
              text: draft.text ?? "",
              by: draft.updated_by,
              at: draft.updated_at,
            }}
          />
        )}
      </Read>
    </ForAdmins>
  );
}

const BEGINNINGS: Record<Kind, string> = {
  workflow: `# What this workflow is for.
kind: workflow
slug: my-workflow
title: My workflow
steps: []
`,
  perspective: `# What is left open in this perspective, and for whom.
kind: perspective
slug: my-perspective
version: 1.0.0
title: My perspective
steps: []
`,
  blueprint: `# What this blueprint does with the events that it takes.
kind: blueprint
slug: my-blueprint
version: 1.0.0
title: My blueprint
parameters:
  type: object
  properties: {}
ports: {in: [in], out: [out]}
jobs:
  - name: pass
    input: {port: in}
    output: {port: out}
`,
};

export function NewDocument() {
  const { kind = "workflow" } = useSearch({ strict: false }) as { kind?: Kind };
  return (
    <ForAdmins what="Editing">
      <Editor
        key={kind}
        opened={{ kind, slug: "", text: BEGINNINGS[kind] ?? BEGINNINGS.workflow, revision: 0 }}
        present={null}
      />
    </ForAdmins>
  );
}
