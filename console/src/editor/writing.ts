// Values as YAML, in the places where an edit puts them. Pure.

import { Document, isCollection, visit } from "yaml";

/** In one line, and good inside of braces as well as outside. */
export function inline(value: unknown): string {
  const document = new Document([value], { aliasDuplicateObjects: false });
  visit(document, {
    Collection(_, node) {
      if (isCollection(node)) node.flow = true;
    },
  });
  const written = document.toString({
    lineWidth: 0,
    flowCollectionPadding: false,
    doubleQuotedMinMultiLineLength: 1_000_000,
    blockQuote: false,
  });
  return written.trim().slice(1, -1);
}

/** Behind a key that stands at column `indent`: a text of several lines keeps them. */
export function block(value: unknown, indent: number): string {
  if (typeof value !== "string" || !value.includes("\n") || !plain(value)) return inline(value);
  const body = value.endsWith("\n") ? value.slice(0, -1) : value;
  const lines = body.split("\n").map((line) => (line ? " ".repeat(indent + 2) + line : ""));
  return `${value.endsWith("\n") ? "|" : "|-"}\n${lines.join("\n")}`;
}

/** Whether a text of several lines comes back from a block as it is. */
const plain = (text: string) =>
  !/^\s|[ \t]\n|[ \t]$|\n\n$|\r|[^\n\t\x20-\x7e\u00a0-\ud7ff\ue000-\ufffd]/.test(text) && text.trim() !== "";

/** An item of a list behind its dash: of a map a line for each key, at column `indent`. */
export function pairs(value: unknown, indent: number): string {
  if (!value || typeof value !== "object" || Array.isArray(value) || !Object.keys(value).length) return inline(value);
  return Object.entries(value)
    .map(([key, one]) => `${inline(key)}: ${block(one, indent)}`)
    .join(`\n${" ".repeat(indent)}`);
}
