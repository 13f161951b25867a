// A text with lines: YAML or JSON, in CodeMirror. The text is one value, and `change` hears of every edit of it. Who
// has the view can send it edits of its own, which then stand in the same history. Load it with the page that uses it.

import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { json } from "@codemirror/lang-json";
import { yaml } from "@codemirror/lang-yaml";
import { bracketMatching, foldGutter, foldKeymap, indentUnit } from "@codemirror/language";
import { type Diagnostic, lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState, type Extension, Transaction } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { useEffect, useRef } from "react";
import { look } from "./look";

export interface Fault {
  /** From 1; what is beyond the text is shown at its end. */
  line: number;
  /** From 1; without it the fault is about the whole line. */
  column?: number | undefined;
  severity: "error" | "warning" | "info";
  message: string;
}

interface Given {
  /** Its accessible name. */
  label: string;
  value: string;
  change?: ((value: string) => void) | undefined;
  language?: "yaml" | "json";
  readOnly?: boolean;
  faults?: Fault[];
  /** Hears of the view when there is one, and of null when it is gone. */
  view?: ((view: EditorView | null) => void) | undefined;
  /** Hears where the cursor went. */
  cursor?: ((offset: number) => void) | undefined;
  /** Keys and the like that only one page has; those of the first rendering count. */
  extensions?: Extension;
  /** CSS lengths; without them it grows with its text. */
  height?: string;
  maxHeight?: string;
}

const NONE: Fault[] = [];

/** Faults as CodeMirror takes them: between offsets. */
export function diagnosticsOf(state: EditorState, faults: Fault[]): Diagnostic[] {
  return faults.map(({ line, column, severity, message }) => {
    const at = state.doc.line(Math.min(Math.max(1, line), state.doc.lines));
    const indent = at.text.length - at.text.trimStart().length;
    const from = column ? Math.min(at.from + column - 1, at.to) : at.from + indent;
    return { from, to: Math.max(from, at.to), severity, message };
  });
}

export function Code({
  label,
  value,
  change,
  language = "yaml",
  readOnly = false,
  faults = NONE,
  view: tell,
  cursor,
  extensions = [],
  height,
  maxHeight,
}: Given) {
  const box = useRef<HTMLDivElement>(null);
  const made = useRef<EditorView | null>(null);
  const told = useRef({ change, tell, cursor });
  told.current = { change, tell, cursor };
  const first = useRef({ value, extensions });
  const changing = useRef(new Compartment());

  useEffect(() => {
    if (!box.current) return;
    const view = new EditorView({
      parent: box.current,
      state: EditorState.create({
        doc: first.current.value,
        extensions: [
          first.current.extensions,
          lineNumbers(),
          foldGutter(),
          lintGutter(),
          history(),
          drawSelection(),
          bracketMatching(),
          highlightActiveLine(),
          highlightSelectionMatches(),
          indentUnit.of("  "),
          // Tab indents, and Escape before it lets Tab leave the editor (CodeMirror's way out for the keyboard).
          keymap.of([...defaultKeymap, ...historyKeymap, ...searchKeymap, ...foldKeymap, ...lintKeymap, indentWithTab]),
          look(),
          changing.current.of([]),
          EditorView.updateListener.of((update) => {
            // What came from `value` is known already.
            if (update.docChanged && !update.transactions.every((one) => one.annotation(Transaction.remote)))
              told.current.change?.(update.state.doc.toString());
            if (update.docChanged || update.selectionSet) told.current.cursor?.(update.state.selection.main.head);
          }),
        ],
      }),
    });
    made.current = view;
    told.current.tell?.(view);
    return () => {
      first.current.value = view.state.doc.toString();
      made.current = null;
      told.current.tell?.(null);
      view.destroy();
    };
  }, []);

  useEffect(() => {
    const sizes = EditorView.theme({
      "&": { height: height ?? "auto", ...(maxHeight ? { maxHeight } : {}) },
    });
    made.current?.dispatch({
      effects: changing.current.reconfigure([
        language === "json" ? json() : yaml(),
        EditorState.readOnly.of(readOnly),
        EditorView.contentAttributes.of({
          "aria-label": label,
          tabindex: "0",
          ...(readOnly ? { "aria-readonly": "true" } : {}),
        }),
        sizes,
      ]),
    });
  }, [language, readOnly, label, height, maxHeight]);

  useEffect(() => {
    const view = made.current;
    if (!view || view.state.doc.toString() === value) return;
    view.dispatch({
      changes: { from: 0, to: view.state.doc.length, insert: value },
      annotations: Transaction.remote.of(true),
    });
  }, [value]);

  useEffect(() => {
    const view = made.current;
    if (view) view.dispatch(setDiagnostics(view.state, diagnosticsOf(view.state, faults)));
  }, [faults]);

  return <div ref={box} className="code" />;
}
