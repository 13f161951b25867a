// The document to work on: palette, picture, text and the panel of what is chosen. All of them edit the one text.

import { isolateHistory, redo, undo } from "@codemirror/commands";
import type { Extension, TransactionSpec } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { Button, SegmentedControl } from "@mantine/core";
import { useEffect, useMemo, useRef, useState } from "react";
import { useFilters } from "../parts/filters";
import { Canvas, type Chosen } from "./Canvas";
import { Code } from "./Code";
import { type Checked, faultsOf } from "./checking";
import { draw, keysOf, type Line } from "./drawing";
import { Faults } from "./Faults";
import { addStep, connect, disconnect, insertBefore, type Module, portsOf, removeStep } from "./gestures";
import { usePalette } from "./modules";
import type { Op } from "./ops";
import { Palette } from "./Palette";
import { patch, Unreadable } from "./patch";
import { type Picture, type Projected, pathOf, rangeOf, type Step, stepAt } from "./project";
import { StepPanel } from "./StepPanel";
import { WayPanel } from "./WayPanel";
import { WizardPanel } from "./WizardPanel";

interface Given {
  text: string;
  change: (text: string) => void;
  projected: Projected;
  report: Checked | null;
  readOnly: boolean;
  view: EditorView | null;
  setView: (view: EditorView | null) => void;
  extensions: Extension;
}

const VIEWS = [
  { value: "both", label: "Both" },
  { value: "picture", label: "Picture" },
  { value: "text", label: "Text" },
];
const FOLLOW_MS = 150;
const EMPTY: Picture = {
  ...{ kind: "", slug: "", title: "", steps: [], channels: {}, messages: [], wizard: [] },
  ports: { in: [], out: [] },
};

export function Workbench({ text, change, projected, report, readOnly, view, setView, extensions }: Given) {
  const [wanted, say] = useFilters<{ view?: string }>();
  const [chosen, choose] = useState<Chosen>(null);
  const [refused, setRefused] = useState("");
  const search = useRef<HTMLInputElement>(null);
  const { byUse } = usePalette();
  const [last, setLast] = useState<Picture | null>(null);
  if ("picture" in projected && projected.picture !== last) setLast(projected.picture);
  const picture = "picture" in projected ? projected.picture : (last ?? EMPTY);
  const fault = "fault" in projected ? projected.fault : null;
  const frozen = readOnly || fault !== null;
  const keys = useMemo(() => keysOf(picture.steps), [picture.steps]);
  const drawing = useMemo(() => draw(picture, byUse), [picture, byUse]);
  const drawn = picture.kind !== "blueprint";
  const shown = drawn ? (wanted.view ?? "both") : "text";
  const stepOf = (id: string) => picture.steps[keys.indexOf(id)];
  const step = chosen?.kind === "step" ? stepOf(chosen.id) : undefined;
  const way = chosen?.kind === "channel" || chosen?.kind === "message" ? chosen : null;

  /** Gestures are edits of the text, each one step of its history. */
  function edit(ops: Op[], typed = false): void {
    if (!view || frozen || !ops.length) return;
    try {
      const { changes } = patch(view.state.doc.toString(), ops);
      const specs = changes.map((one, n): TransactionSpec => ({ changes: one, sequential: n > 0 }));
      if (!specs.length) return;
      view.dispatch(
        ...specs,
        typed ? { userEvent: "input.type.form" } : { userEvent: "input", annotations: isolateHistory.of("full") },
      );
      setRefused("");
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      setRefused(error.message);
    }
  }

  /** What is chosen in the picture is looked at in the text, too. */
  function pick(next: Chosen): void {
    choose(next);
    if (next?.kind !== "step" || !view) return;
    const [from] = rangeOf(text, ["steps", keys.indexOf(next.id)]);
    view.dispatch({ selection: { anchor: from }, effects: EditorView.scrollIntoView(from, { y: "center" }) });
  }

  const following = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(following.current), []);
  function follow(offset: number): void {
    clearTimeout(following.current);
    following.current = setTimeout(() => {
      if (!view?.hasFocus) return;
      const key = keys[stepAt(text, offset) ?? -1];
      if (key) choose({ kind: "step", id: key });
    }, FOLLOW_MS);
  }

  function go(offset: number, pointer: string): void {
    const [part, one] = pathOf(pointer);
    if (part === "steps") choose({ kind: "step", id: keys[Number(one)] ?? "" });
    else if (part === "messages") choose({ kind: "message", index: Number(one) });
    else if (part === "channels") {
      const line = drawing.lines.find(({ kind, label }) => kind === "channel" && label === one);
      choose(line ? channelOf(line) : null);
    } else choose(null);
    view?.dispatch({ selection: { anchor: offset }, effects: EditorView.scrollIntoView(offset, { y: "center" }) });
    view?.focus();
  }

  function add(module: Module): void {
    const into = way?.kind === "channel" && module.in.length && module.out.length ? stepOf(way.to) : undefined;
    const ports = (one: Step) => portsOf(one, byUse.get(one.use ?? ""));
    const ops =
      into && way?.kind === "channel"
        ? insertBefore(picture, module, way.name, into, ports(into).in)
        : addStep(picture, module, step, step ? ports(step).out : []);
    edit(ops);
    const made = ops.find((one) => one.do === "add");
    if (made?.do === "add") choose({ kind: "step", id: (made.value as { id: string }).id });
  }

  function join([from, out]: [string, string], [to, into]: [string, string]): void {
    const source = stepOf(from);
    const target = stepOf(to);
    if (source && target) {
      const ports = [portsOf(source, byUse.get(source.use ?? "")).out, portsOf(target, byUse.get(target.use ?? "")).in];
      edit(
        connect(
          picture,
          { step: source, port: out, ports: ports[0] ?? [] },
          { step: target, port: into, ports: ports[1] ?? [] },
        ),
      );
    }
  }

  function remove(what: NonNullable<Chosen>): void {
    if (what.kind === "step") {
      const gone = stepOf(what.id);
      if (gone) edit(removeStep(picture, gone));
    } else if (what.kind === "message") edit([{ do: "remove", at: ["messages", what.index] }]);
    else {
      const from = stepOf(what.from);
      const to = stepOf(what.to);
      if (from && to) edit(disconnect(picture, what.name, from, to));
    }
    choose(null);
  }

  const badges = new Map<string, number>();
  for (const { pointer } of report?.errors ?? []) {
    const [part, one] = pathOf(pointer);
    const key = part === "steps" ? keys[Number(one)] : undefined;
    if (key) badges.set(key, (badges.get(key) ?? 0) + 1);
  }
  const faults = useMemo(() => faultsOf(report), [report]);
  const remarks = (report?.errors ?? []).map(({ pointer, message }) => ({ pointer, message }));

  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: a short way to the palette, which has its own
    <div
      onKeyDown={(event) => {
        const target = event.target as HTMLElement;
        if (event.key !== "n" || event.ctrlKey || event.metaKey || event.altKey) return;
        if (target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName)) return;
        event.preventDefault();
        search.current?.focus();
      }}
    >
      <div className="filters">
        {drawn && (
          <SegmentedControl data={VIEWS} value={shown} onChange={(one) => say({ view: one })} aria-label="View" />
        )}
        <Button variant="subtle" onClick={() => view && undo(view)}>
          Undo
        </Button>
        <Button variant="subtle" onClick={() => view && redo(view)}>
          Redo
        </Button>
        {drawn && <span className="quiet">N adds a step; Delete removes what is chosen; Ctrl+S saves.</span>}
      </div>
      {refused && <div className="note warning">{refused}</div>}
      {fault && drawn && (
        <div className="note failed" role="alert">
          Line {fault.line} cannot be read: {fault.message} The picture shows what the text last said.
        </div>
      )}
      <div className={drawn ? "bench" : undefined}>
        {drawn && (
          <Palette
            add={add}
            search={search}
            disabled={frozen}
            place={
              way?.kind === "channel"
                ? `Between ${way.from} and ${way.to}.`
                : step
                  ? `Behind ${step.id}.`
                  : "At the end."
            }
          />
        )}
        <div className="centre">
          {drawn && shown !== "text" && (
            <Canvas
              drawing={drawing}
              faults={badges}
              chosen={chosen}
              choose={pick}
              connect={join}
              remove={remove}
              drop={(use) => {
                const module = byUse.get(use);
                if (module) add(module);
              }}
              insert={(line) => {
                choose(channelOf(line));
                search.current?.focus();
              }}
              frozen={frozen}
            />
          )}
          <div hidden={shown === "picture"}>
            <Code
              label="Document as YAML"
              value={text}
              change={change}
              faults={faults}
              view={setView}
              cursor={follow}
              readOnly={readOnly}
              extensions={extensions}
              height={shown === "text" ? "560px" : "320px"}
            />
          </div>
          <Faults report={report} text={text} go={go} />
        </div>
        {drawn &&
          (step ? (
            <StepPanel
              key={step.index}
              picture={picture}
              step={step}
              modules={byUse}
              edit={edit}
              renamed={(id) => choose({ kind: "step", id })}
              faults={remarks}
            />
          ) : way ? (
            <WayPanel picture={picture} chosen={way} edit={edit} choose={choose} />
          ) : (
            <WizardPanel picture={picture} edit={edit} />
          ))}
      </div>
    </div>
  );
}

const channelOf = ({ label, from, to }: Line): Chosen => ({ kind: "channel", name: label, from, to });
