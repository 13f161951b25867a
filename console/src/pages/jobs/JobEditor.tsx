// The document of a job as text: checked as it is typed, saved as a draft with the revision that the edit started from,
// staged as a version. Somebody else's save is shown, and what was typed stays.

import type { EditorView } from "@codemirror/view";
import { Button } from "@mantine/core";
import { useMemo, useState } from "react";
import { useAct } from "../../api/act";
import { call, type Result } from "../../api/client";
import { useAgain } from "../../api/queries";
import { Code } from "../../editor/Code";
import { Conflict } from "../../editor/Conflict";
import { faultsOf, useNewest } from "../../editor/checking";
import { nameOf } from "../../editor/copies";
import { Faults } from "../../editor/Faults";
import type { Theirs } from "../../editor/others";
import { useCompletion } from "../../editor/useCompletion";
import { CopyNotes, useCopy } from "../../editor/useCopy";
import { Refusal } from "../../parts/Page";
import { State } from "../../parts/State";
import { useTenant } from "../../parts/session";
import { counted } from "../../words/numbers";
import { RunAndTrace } from "./Trace";

interface Given {
  /** Empty: a new job, whose name is the one in the text. */
  name: string;
  text: string;
  /** The draft as the engine has it now; null when there is none. */
  present: Theirs | null;
  /** Hears the name under which it was saved, and the version that was staged. */
  saved: (name: string, version?: number) => void;
}

type Checked = Result<"job_validate">;

const MOVED = "already_exists"; // the draft is not at the revision that the edit started from

const validate = (document: string, options: { tenant: string; signal: AbortSignal }): Promise<Checked> =>
  call("job_validate", { document }, options);

export function JobEditor({ name, text: opened, present, saved }: Given) {
  const tenant = useTenant();
  const again = useAgain();
  const [text, setText] = useState(opened);
  const [kept, setKept] = useState(opened); // what is saved
  const [base, setBase] = useState(present?.revision ?? 0); // 0: there was no draft
  const [comparing, setComparing] = useState(false);
  const [view, setView] = useState<EditorView | null>(null);
  const { act, busy, problem, setProblem } = useAct();
  const checked = useNewest(text, tenant, validate);
  const dirty = text !== kept;
  const copy = useCopy(nameOf(tenant, "job", name), { text, saved: kept, base });
  const { offer, settle } = copy;
  const revision = present?.revision ?? 0;
  const moved = !busy && revision !== base;
  const report = useMemo(
    () => (checked.report ? { errors: checked.report.errors, warnings: [], errors_left_out: 0 } : null),
    [checked.report],
  );
  const faults = useMemo(() => faultsOf(report), [report]);
  const valid = checked.current && checked.report?.valid === true;
  const named = checked.report?.name;
  const other = name && named && named !== name ? named : "";

  const extensions = useCompletion("job");

  const replace = (whole: string) =>
    view?.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: whole }, userEvent: "input.replace" });

  async function put() {
    const begun = base && !other ? { base_revision: base } : {};
    const done = await call("job_put", { document: text, draft: true, ...begun }, { tenant });
    if (!("revision" in done)) throw new Error("what was saved is no draft");
    await again("job_");
    settle();
    setKept(text);
    if (done.name === name) setBase(done.revision);
    return done;
  }
  const save = () =>
    act(
      async () => {
        const done = await put();
        if (done.name !== name) saved(done.name);
      },
      (refused) => {
        if (!name || other || refused.code !== MOVED) return;
        void again("job_").then(() => setComparing(true)); // nothing had told of the other's save yet
      },
    );
  const stage = () =>
    act(async () => {
      const draft = dirty || !base || other ? await put() : { name, revision: base };
      const done = await call("job_stage", { name: draft.name, revision: draft.revision }, { tenant });
      await again("job_");
      setBase(0);
      saved(done.name, done.version);
    });
  const goTo = (offset: number) => {
    view?.dispatch({ selection: { anchor: offset }, scrollIntoView: true });
    view?.focus();
  };

  return (
    <>
      <div className="filters">
        <span role="status" aria-live="polite">
          {valid ? (
            <State word="valid" />
          ) : checked.report && !checked.report.valid ? (
            <span className="state failed">{counted(checked.report.errors.length, "fault")}</span>
          ) : (
            <State word="pending" title="it is being checked" />
          )}{" "}
          <span className="quiet">{dirty ? "not saved" : base ? `saved as draft, revision ${base}` : "no draft"}</span>
        </span>
        <Button
          variant={dirty ? "filled" : "light"}
          loading={busy}
          disabled={offer !== null || (!dirty && !!name)}
          onClick={() => void save()}
        >
          Save draft
        </Button>
        <Button
          variant={!dirty && base ? "filled" : "light"}
          disabled={busy || offer !== null || !valid || moved || (!dirty && !base && !!name)}
          onClick={() => void stage()}
        >
          Stage
        </Button>
      </div>
      <CopyNotes
        kept={copy}
        base={base}
        take={({ text, base }) => {
          replace(text);
          setBase(base);
        }}
      />
      {other && (
        <div className="note warning">
          The text names <code>{other}</code>: it is saved as that job, and <code>{name}</code> stays as it is.
        </div>
      )}
      {moved && (
        <div className="note warning" role="alert">
          <p>
            {revision
              ? `${present?.by ?? "Somebody"} saved revision ${revision} of this draft since you began. What you typed is still here.`
              : "The draft is gone: somebody staged it or threw it away. What you typed is still here."}
          </p>
          <div className="filters">
            {!revision ? (
              <Button onClick={() => setBase(0)}>Go on with mine as a new draft</Button>
            ) : dirty ? (
              <Button onClick={() => setComparing(true)}>Look at both</Button>
            ) : (
              <Button
                onClick={() => {
                  replace(present?.text ?? "");
                  setKept(present?.text ?? "");
                  setBase(revision);
                }}
              >
                Show theirs
              </Button>
            )}
          </div>
        </div>
      )}
      {problem && <Refusal problem={problem} />}
      {checked.problem && <Refusal problem={checked.problem} />}
      <Code
        label="Job as YAML"
        value={text}
        change={setText}
        faults={faults}
        view={setView}
        readOnly={offer !== null}
        extensions={extensions}
        maxHeight="60vh"
      />
      <Faults report={report} text={text} go={goTo} />
      <RunAndTrace document={text} />
      {comparing && present && (
        <Conflict
          theirs={present}
          mine={text}
          close={() => setComparing(false)}
          take={(whole) => {
            replace(whole);
            setBase(revision);
            setKept(present.text);
            setProblem(null);
            setComparing(false);
          }}
        />
      )}
    </>
  );
}
