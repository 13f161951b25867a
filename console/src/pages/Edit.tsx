// Edit a draft: what is there is loaded once, and from then on the text in the browser is what counts.

import { Button } from "@mantine/core";
import { Link, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { useRead } from "../api/queries";
import { Editor, type Opened } from "../editor/Editor";
import { ForAdmins, Head, Read, Refusal } from "../parts/Page";
import { type Kind, useDocument } from "./Document";

export function Edit() {
  const { kind, slug } = useDocument();
  return (
    <ForAdmins what="Editing">
      <Load key={`${kind}:${slug}`} kind={kind} slug={slug} />
    </ForAdmins>
  );
}

function Load({ kind, slug }: { kind: Kind; slug: string }) {
  const [opened, setOpened] = useState<Opened | null>(null);
  const read = useRead(
    "workflow_get",
    { slug, type: kind, version: "draft", detail: "detailed" },
    { enabled: opened === null }, // what others save later is asked for when it is needed
  );
  const { data, error, isFetching } = read;
  if (!opened && data && !isFetching && !error)
    setOpened({ kind, slug, text: data.text ?? "", revision: data.draft_revision ?? 0 });
  if (opened) return <Editor opened={opened} />;
  if (error?.code === "not_found")
    return (
      <>
        <Head title={slug} />
        <Refusal problem={error} />
        <Button component={Link} to={`/workflows/${kind}/${slug}`}>
          Look at its versions
        </Button>
      </>
    );
  return <Read of={{ ...read, data: undefined }}>{() => null}</Read>;
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
      <Editor key={kind} opened={{ kind, slug: "", text: BEGINNINGS[kind] ?? BEGINNINGS.workflow, revision: 0 }} />
    </ForAdmins>
  );
}
