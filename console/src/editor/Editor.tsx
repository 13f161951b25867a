// The editor. The text is the only state: what is drawn is made of it, and each gesture is an edit of it, so that there
// is one history and no comment is lost. Saving is explicit, with the revision that the edit started from.

import type { EditorView } from "@codemirror/view";
import { keymap } from "@codemirror/view";
import { Button } from "@mantine/core";
import { Link, useNavigate } from "@tanstack/react-router";
import { useMemo, useRef, useState } from "react";
import { useAct } from "../api/act";
import { call } from "../api/client";
import { Head, Refusal } from "../parts/Page";
import { State } from "../parts/State";
import { useTenant } from "../parts/session";
import { Conflict } from "./Conflict";
import { useChecked } from "./checking";
import { nameOf } from "./copies";
import { type Theirs, useOthers } from "./others";
import { project } from "./project";
import { useCompletion } from "./useCompletion";
import { CopyNotes, useCopy } from "./useCopy";
import { Workbench } from "./Workbench";

export interface Opened {
  kind: string;
  /** Empty: it was never saved. */
  slug: string;
  text: string;
  revision: number;
}

export function Editor({ opened }: { opened: Opened }) {
  const tenant = useTenant();
  const navigate = useNavigate();
  const name = nameOf(tenant, opened.kind, opened.slug);
  const [text, setText] = useState(opened.text);
  const [saved, setSaved] = useState(opened.text);
  const [base, setBase] = useState(opened.revision);
  const [comparing, setComparing] = useState<Theirs | null>(null);
  const [view, setView] = useState<EditorView | null>(null);
  const { act, busy, problem, setProblem } = useAct();
  const checked = useChecked(text, tenant);
  const projected = useMemo(() => project(text), [text]);
  const picture = "picture" in projected ? projected.picture : null;
  const dirty = text !== saved;
  const kept = useCopy(name, { text, saved, base });
  const fresh = opened.slug === "";
  const others = useOthers(opened, base, busy);

  const replace = (whole: string) =>
    view?.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: whole }, userEvent: "input.replace" });

  /** Go on with a text on top of what somebody else saved. */
  const take = (whole: string, theirs: Theirs) => {
    replace(whole);
    setBase(theirs.revision);
    setSaved(theirs.text);
    setProblem(null);
    setComparing(null);
  };

  const save = () =>
    act(async () => {
      const same = !fresh && (!picture || (picture.slug === opened.slug && picture.kind === opened.kind));
      const done = await call("workflow_save_draft", { document: text, base_revision: same ? base : 0 }, { tenant });
      kept.settle();
      setBase(done.draft_revision);
      setSaved(text);
      if (!same) await navigate({ to: "/workflows/$kind/$slug/edit", params: { kind: done.type, slug: done.slug } });
    });
  const publish = () =>
    act(async () => {
      const done = await call(
        "workflow_publish",
        { slug: opened.slug, type: opened.kind as "workflow", draft_revision: base },
        { tenant },
      );
      await navigate({
        to: "/workflows/$kind/$slug",
        params: { kind: opened.kind, slug: opened.slug },
        search: { published: done.version } as never,
      });
    });

  const keys = useRef(save);
  keys.current = save;
  const completion = useCompletion(opened.kind);
  const extensions = useMemo(
    () => [
      completion,
      keymap.of([
        {
          key: "Mod-s",
          run: () => {
            void keys.current();
            return true;
          },
        },
      ]),
    ],
    [completion],
  );
  const valid = checked.current && checked.report?.valid === true;
  return (
    <>
      <Head
        title={picture?.title || opened.slug || "A new document"}
        state={
          <span role="status" aria-live="polite">
            {valid ? (
              <State word="valid" />
            ) : checked.report && !checked.report.valid ? (
              <span className="state failed">{count(checked.report.errors.length, "fault")}</span>
            ) : (
              <State word="pending" title="it is being checked" />
            )}{" "}
            <span className="quiet">
              {dirty ? "not saved" : fresh ? "nothing typed yet" : `saved as revision ${base}`}
            </span>
          </span>
        }
        actions={
          <>
            <Button
              variant="subtle"
              component={Link}
              to={fresh ? "/workflows" : `/workflows/${opened.kind}/${opened.slug}`}
            >
              Versions
            </Button>
            <Button
              variant={dirty || fresh ? "filled" : "light"}
              loading={busy}
              disabled={kept.offer !== null}
              onClick={() => void save()}
            >
              Save draft
            </Button>
            <Button
              variant={dirty || fresh ? "light" : "filled"}
              disabled={dirty || fresh || busy || !valid || others.moved}
              title={dirty || fresh ? "Save it first: what is published is what is saved." : undefined}
              onClick={() => void publish()}
            >
              Publish
            </Button>
          </>
        }
      />
      <CopyNotes
        kept={kept}
        base={base}
        take={(copy) => {
          replace(copy.text);
          setBase(copy.base);
        }}
      />
      {others.gone && (
        <div className="note warning" role="alert">
          <p>This draft is gone: somebody published it or threw it away. What you typed is still here.</p>
          <Button onClick={() => setBase(0)}>Save mine as a new draft</Button>
        </div>
      )}
      {others.theirs && (
        <div className="note warning" role="alert">
          <p>
            {others.theirs.by ?? "Somebody"} saved revision {others.theirs.revision} since you began with revision{" "}
            {base}.
          </p>
          {dirty ? (
            <Button onClick={() => setComparing(others.theirs)}>Look at both</Button>
          ) : (
            <Button onClick={() => others.theirs && take(others.theirs.text, others.theirs)}>Show theirs</Button>
          )}
        </div>
      )}
      {problem && <Refusal problem={problem} />}
      {checked.problem && <Refusal problem={checked.problem} />}
      <Workbench
        text={text}
        change={setText}
        projected={projected}
        report={checked.report}
        readOnly={kept.offer !== null}
        view={view}
        setView={setView}
        extensions={extensions}
      />
      {comparing && (
        <Conflict
          theirs={comparing}
          mine={text}
          close={() => setComparing(null)}
          take={(whole) => take(whole, comparing)}
        />
      )}
    </>
  );
}

const count = (many: number, word: string) => `${many} ${word}${many === 1 ? "" : "s"}`;
