// Two texts side by side, with what differs; loaded when somebody compares.

import { history, historyKeymap, standardKeymap } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { MergeView } from "@codemirror/merge";
import { EditorState, type Extension } from "@codemirror/state";
import { EditorView, keymap, lineNumbers } from "@codemirror/view";
import { useEffect, useRef } from "react";
import { look } from "./look";

interface Side {
  name: string;
  text: string;
}

interface Given {
  before: Side;
  after: Side;
  /** Hears of edits of the text on the right; without it both are only read. */
  change?: (text: string) => void;
}

export default function Differences({ before, after, change }: Given) {
  const box = useRef<HTMLDivElement>(null);
  const told = useRef(change);
  told.current = change;
  const editable = Boolean(change);
  useEffect(() => {
    if (!box.current) return;
    const side = (name: string, ...more: Extension[]) => [
      lineNumbers(),
      yaml(),
      look(),
      EditorView.lineWrapping,
      EditorView.contentAttributes.of({ "aria-label": name }),
      ...more,
    ];
    const fixed = EditorState.readOnly.of(true);
    const view = new MergeView({
      parent: box.current,
      a: { doc: before.text, extensions: side(before.name, fixed) },
      b: {
        doc: after.text,
        extensions: editable
          ? side(
              after.name,
              history(),
              keymap.of([...standardKeymap, ...historyKeymap]),
              EditorView.updateListener.of(
                (update) => update.docChanged && told.current?.(update.state.doc.toString()),
              ),
            )
          : side(after.name, fixed),
      },
      collapseUnchanged: { margin: 3, minSize: 6 },
      ...(editable ? { revertControls: "a-to-b" as const, renderRevertControl } : {}),
    });
    return () => view.destroy();
  }, [before.name, before.text, after.name, after.text, editable]);
  return (
    <>
      <div className="sides">
        <strong>{before.name}</strong>
        <strong>{after.name}</strong>
      </div>
      <div ref={box} className="merge" tabIndex={0} role="region" aria-label="Both texts" />
    </>
  );
}

function renderRevertControl() {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "→";
  button.setAttribute("aria-label", "Take this part from the left");
  return button;
}
