// What can stand at the cursor of a YAML text, by the JSON Schema of its kind: names of keys with what they mean, and the
// words that a value may be. The place is read off the indentation, so that a text with faults is completed as well.

import {
  autocompletion,
  type Completion,
  type CompletionContext,
  type CompletionResult,
} from "@codemirror/autocomplete";
import type { Extension } from "@codemirror/state";

/** A JSON Schema, as far as it is read here. */
export interface Schema {
  description?: string;
  type?: string;
  const?: unknown;
  enum?: unknown[];
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
  $ref?: string;
  $defs?: Record<string, Schema>;
}

export interface Place {
  /** The keys above, from the root; `-` is an item of a list. */
  path: string[];
  /** The key whose value is typed; null: a key is. */
  value: string | null;
  /** What is typed of it so far. */
  typed: string;
}

const KEY = /^([\w.-]+):(?:\s|$)/;

interface Line {
  /** Columns of its dashes. */
  dashes: number[];
  column: number;
  rest: string;
}

function lineOf(text: string): Line {
  const dashes: number[] = [];
  let column = text.length - text.trimStart().length;
  while (/^-(\s|$)/.test(text.slice(column))) {
    dashes.push(column);
    const rest = text.slice(column + 1);
    column += 1 + rest.length - rest.trimStart().length;
  }
  return { dashes, column, rest: text.slice(column) };
}

/** Where the end of a text is in its document. */
export function placeAt(before: string): Place {
  const lines = before.split("\n");
  const present = lineOf(lines.pop() ?? "");
  const key = KEY.exec(present.rest)?.[1] ?? null;
  const typed = key === null ? present.rest : present.rest.slice(key.length + 1).trimStart();
  const path: string[] = [];
  let least = present.column;
  let listed = false; // what is looked for holds a list, whose dashes may stand below its own key
  const step = ({ dashes, column, rest }: Line, own: boolean) => {
    const named = own ? null : KEY.exec(rest)?.[1];
    if (named && rest.slice(named.length + 1).trim() === "" && (listed ? column <= least : column < least)) {
      path.unshift(named);
      least = column;
      listed = false;
    }
    for (const dash of dashes.toReversed())
      if (dash < least) {
        path.unshift("-");
        least = dash;
        listed = true;
      }
  };
  step(present, true);
  for (const text of lines.reverse()) if (text.trim() && !text.trimStart().startsWith("#")) step(lineOf(text), false);
  return { path, value: key, typed };
}

/** The alternatives that a schema stands for. */
function plain(schema: Schema, root: Schema, depth = 0): Schema[] {
  if (depth > 8) return []; // a schema that names itself
  const found = schema.$ref ? root.$defs?.[schema.$ref.replace("#/$defs/", "")] : undefined;
  const more = [...(found ? [found] : []), ...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.allOf ?? [])];
  return [schema, ...more.flatMap((one) => plain(one, root, depth + 1))];
}

function below(schemas: Schema[], part: string, root: Schema): Schema[] {
  const next = schemas.map((schema) => {
    if (part === "-") return schema.items;
    const other = typeof schema.additionalProperties === "object" ? schema.additionalProperties : undefined;
    return schema.properties?.[part] ?? other;
  });
  return next.flatMap((schema) => (schema ? plain(schema, root) : []));
}

/** What can stand at a place. */
export function offered({ path, value }: Place, root: Schema): Completion[] {
  const here = path.reduce((schemas, part) => below(schemas, part, root), plain(root, root));
  if (value === null) {
    const keys = new Map(here.flatMap((schema) => Object.entries(schema.properties ?? {})));
    return [...keys].map(([label, { description }]) => ({
      label,
      apply: `${label}: `,
      type: "property",
      ...(description ? { info: description.split("\n\n")[0] ?? "" } : {}),
    }));
  }
  const words = below(here, value, root).flatMap((schema) => [
    ...(schema.enum ?? []),
    ...("const" in schema ? [schema.const] : []),
    ...(schema.type === "boolean" ? [true, false] : []),
  ]);
  return [...new Set(words)].map((word) => ({ label: String(word), type: "enum" }));
}

/** Completion by a schema, once there is one. */
export function completing(schema: () => Schema | undefined): Extension {
  const source = (context: CompletionContext): CompletionResult | null => {
    const root = schema();
    if (!root) return null;
    const place = placeAt(context.state.doc.sliceString(0, context.pos));
    if (!/^[\w.-]*$/.test(place.typed) || (!place.typed && !context.explicit)) return null;
    return { from: context.pos - place.typed.length, options: offered(place, root), validFor: /^[\w.-]*$/ };
  };
  return autocompletion({ override: [source], icons: false });
}
