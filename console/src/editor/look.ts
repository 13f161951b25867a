// How texts look: by the colours of the console (style.css), which are there in light and dark.

import { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import type { Extension } from "@codemirror/state";
import { EditorView, highlightSpecialChars } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { escaped, UNSEEN } from "../words/code";

const words = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--working)" },
  { tag: [tags.string, tags.special(tags.string), tags.content], color: "var(--ink)" },
  { tag: [tags.number, tags.bool, tags.null, tags.keyword, tags.atom], color: "var(--well)" },
  { tag: [tags.comment, tags.lineComment], color: "var(--quiet)", fontStyle: "italic" },
  { tag: [tags.meta, tags.labelName, tags.typeName], color: "var(--warning)" },
  { tag: [tags.punctuation, tags.separator, tags.squareBracket, tags.brace], color: "var(--quiet)" },
]);

const theme = EditorView.theme({
  "&": {
    color: "var(--ink)",
    backgroundColor: "var(--paper)",
    border: "1px solid var(--line)",
    borderRadius: "4px",
    fontSize: "12px",
  },
  "&.cm-focused": { outline: "2px solid var(--working)", outlineOffset: "1px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "18px", overflow: "auto" },
  ".cm-content": { caretColor: "var(--ink)" },
  ".cm-cursor, .cm-dropCursor": { borderLeftColor: "var(--ink)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "var(--working-soft)",
  },
  ".cm-gutters": { backgroundColor: "var(--paper)", color: "var(--quiet)", border: 0 },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "color-mix(in srgb, var(--soft) 60%, transparent)" },
  ".cm-selectionMatch, .cm-searchMatch": { backgroundColor: "var(--warning-soft)" },
  ".cm-matchingBracket": { backgroundColor: "var(--working-soft)", outline: "0" },
  ".cm-foldPlaceholder": { backgroundColor: "var(--soft)", color: "var(--quiet)", borderColor: "var(--line)" },
  ".cm-tooltip, .cm-panels": { backgroundColor: "var(--paper)", color: "var(--ink)", borderColor: "var(--line)" },
  ".cm-panels input, .cm-panels button": {
    backgroundColor: "var(--paper)",
    backgroundImage: "none",
    color: "var(--ink)",
    border: "1px solid var(--line)",
    borderRadius: "4px",
  },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]": {
    backgroundColor: "var(--working-soft)",
    color: "var(--ink)",
  },
  ".cm-tooltip.cm-completionInfo": { maxWidth: "320px", padding: "4px 8px", fontFamily: "inherit" },
  ".cm-diagnostic": { fontFamily: "inherit", fontSize: "12px" },
  ".cm-diagnostic-error": { borderLeftColor: "var(--failed)" },
  ".cm-diagnostic-warning": { borderLeftColor: "var(--warning)" },
  ".cm-diagnostic-info": { borderLeftColor: "var(--quiet)" },
  ".cm-lintRange-error": { backgroundImage: "none", borderBottom: "2px dotted var(--failed)" },
  ".cm-lintRange-warning": { backgroundImage: "none", borderBottom: "2px dotted var(--warning)" },
  ".cm-lintRange-info": { backgroundImage: "none", borderBottom: "1px dotted var(--quiet)" },
});

/** What cannot be seen is written out; what is copied or saved stays as it is. */
const unseen = highlightSpecialChars({
  specialChars: UNSEEN,
  render: (code) => {
    const mark = document.createElement("span");
    mark.className = "cm-specialChar";
    mark.textContent = escaped(String.fromCodePoint(code));
    return mark;
  },
});

/** The styles that CodeMirror makes carry the nonce of the page, as its policy asks. */
export function look(): Extension {
  const nonce = document.querySelector<HTMLMetaElement>('meta[name="nonce"]')?.content;
  return [theme, unseen, syntaxHighlighting(words), nonce ? EditorView.cspNonce.of(nonce) : []];
}
