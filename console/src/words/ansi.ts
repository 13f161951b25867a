// What a terminal would colour, as classes; and addresses as links. Text stays text: nothing here becomes markup. Pure.

import { visible } from "./code";

export interface Piece {
  text: string;
  className?: string;
  href?: string;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these sequences begin with one
const SEQUENCE = /\x1b\[([0-9;]*)([A-Za-z])/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: of other kinds, such as titles of windows
const OTHER = /\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])/g;
const ADDRESS = /https?:\/\/[^\s"'<>()[\]{}]+[^\s"'<>()[\]{}.,;:!?]/g;

const STYLES: Record<string, string> = { "1": "bold", "2": "faint", "3": "italic", "4": "underlined" };

/** The class of each style that is on after these codes. */
function after(now: Map<string, string>, codes: string): Map<string, string> {
  const next = new Map(now);
  for (const code of (codes || "0").split(";")) {
    const number = Number(code || "0");
    if (number === 0) next.clear();
    else if (STYLES[code]) next.set(code, `ansi-${STYLES[code]}`);
    else if (number === 22) {
      next.delete("1");
      next.delete("2");
    } else if (number === 23) next.delete("3");
    else if (number === 24) next.delete("4");
    else if (number === 39) next.delete("colour");
    else if ((number >= 30 && number <= 37) || (number >= 90 && number <= 97))
      next.set("colour", `ansi-${(number % 10) + (number >= 90 ? 8 : 0)}`);
  }
  return next;
}

function linked(text: string, className: string): Piece[] {
  const found: Piece[] = [];
  const style = className ? { className } : {};
  let at = 0;
  for (const match of text.matchAll(ADDRESS)) {
    if (match.index > at) found.push({ text: visible(text.slice(at, match.index)), ...style });
    found.push({ text: visible(match[0]), href: match[0], ...style });
    at = match.index + match[0].length;
  }
  if (at < text.length) found.push({ text: visible(text.slice(at)), ...style });
  return found;
}

/** The pieces of a line, each with the class that its colour has. */
export function pieces(line: string): Piece[] {
  const text = line.replace(OTHER, "");
  const found: Piece[] = [];
  let styles = new Map<string, string>();
  let at = 0;
  const take = (end: number) => {
    if (end > at) found.push(...linked(text.slice(at, end), [...styles.values()].join(" ")));
  };
  for (const match of text.matchAll(SEQUENCE)) {
    take(match.index);
    if (match[2] === "m") styles = after(styles, match[1] ?? "");
    at = match.index + match[0].length;
  }
  take(text.length);
  return found;
}

/** A line without what only a terminal reads. */
export const plain = (line: string): string => line.replace(SEQUENCE, "").replace(OTHER, "");
