import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Lexer, parseAllDocuments, parseDocument } from "yaml";
import { applied, type Op } from "../src/editor/ops";
import { patch } from "../src/editor/patch";
import { type Path, project } from "../src/editor/project";

const ROOT = join(import.meta.dirname, "../..");
const FOLDERS = ["examples", "examples/portal", "examples/gitops/workflows", "core/catalog/builtin"];

/** Every document with steps that Sluice comes with, as it is written. */
const DOCUMENTS: [string, string][] = FOLDERS.flatMap((folder) =>
  readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith(".yaml"))
    .flatMap((name) => {
      const text = readFileSync(join(ROOT, folder, name), "utf-8");
      return parseAllDocuments(text)
        .map((document) => text.slice(document.range[0], document.range[1]).replace(/^---\n/, ""))
        .filter((one) => /^kind: (workflow|perspective)$/m.test(one))
        .map((one, n): [string, string] => [`${folder}/${name} ${n}`, one]);
    }),
);

const dataOf = (text: string) => parseDocument(text).toJS() as Record<string, unknown>;

const commentsOf = (text: string) => [...new Lexer().lex(text)].filter((one) => one.startsWith("#")).sort();

const MOST = 24; // edits of one document: all take minutes
const some = <T>(all: T[]): T[] => all.filter((_, n) => n % Math.ceil(all.length / MOST) === 0);

/** Each path to a value, to the last leaf. */
function paths(value: unknown, path: Path = []): Path[] {
  if (!value || typeof value !== "object") return [path];
  const keys: Path = Array.isArray(value) ? [...value.keys()] : Object.keys(value);
  return [...(path.length ? [path] : []), ...keys.flatMap((key) => paths((value as never)[key], [...path, key]))];
}

const LISTS: Path[] = [["steps"], ["wizard"], ["tags"]];
const VALUES = [
  "word",
  "{{wizard.word}}",
  "a: b, [c] # d",
  "true",
  7,
  false,
  ["a", "b: c"],
  { a: "x" },
  "two\nlines\n",
];

function opsOf(data: Record<string, unknown>): Op[] {
  const ops: Op[] = [];
  for (const [n, at] of paths(data).entries()) {
    ops.push({ do: "set", at, value: VALUES[n % VALUES.length] });
    ops.push({ do: "remove", at });
    if (typeof at.at(-1) === "string") ops.push({ do: "rename", at, key: "another-name" });
  }
  const steps = data.steps as unknown[];
  for (const [n] of steps.entries()) {
    ops.push({ do: "set", at: ["steps", n, "replicas"], value: 3 });
    ops.push({ do: "set", at: ["steps", n, "with", "fresh"], value: "{{wizard.word}}" });
    ops.push({ do: "set", at: ["steps", n, "placement", "group"], value: "edge" });
  }
  for (const at of LISTS) {
    const many = (data[at[0] as string] as unknown[] | undefined)?.length ?? 0;
    const value = { id: "added", use: "blueprint:echo-source@1.0.0", with: { event: '{"a": "{{b}}"}' } };
    ops.push({ do: "add", at, value }, { do: "add", at, value, index: 0 });
    if (many > 1) ops.push({ do: "add", at, value, index: 1 });
    for (let n = 1; n < many; n++) ops.push({ do: "move", at, from: n, to: n - 1 }, { do: "move", at, from: 0, to: n });
  }
  ops.push({ do: "add", at: ["messages"], value: { from: "a", to: "b", tag: "written" } });
  ops.push({ do: "set", at: ["channels", "fresh"], value: { transport: "file-store", with: { path: "spool" } } });
  return ops;
}

test("there are documents to try", () => {
  expect(DOCUMENTS.length).toBeGreaterThan(15);
});

test.each(DOCUMENTS)("each edit of %s means what it says, and keeps the comments", (_, text) => {
  const data = dataOf(text);
  const commented = text.replace(/^(\s*)- id: (\S+)$/gm, "$1# about $2\n$1- id: $2 # is $2");
  for (const [origin, source] of [
    ["as written", text],
    ["with comments", commented],
  ] as const) {
    const before = commentsOf(source);
    for (const op of some(opsOf(data))) {
      const done = patch(source, [op]);
      expect(dataOf(done.text), `${origin}: ${JSON.stringify(op)}\n${done.text}`).toEqual(applied(data, op));
      const grew = done.text.split("\n").length - source.split("\n").length;
      if (op.do === "rename" || op.do === "add" || op.do === "move" || (op.do === "set" && op.at.length > 3))
        expect(commentsOf(done.text), `${JSON.stringify(op)}\n${done.text}`).toEqual(before);
      if (op.do === "move") expect(grew).toBe(0);
    }
  }
});

test.each(DOCUMENTS)("what the changes of %s say leads to the text", (_, text) => {
  const steps = dataOf(text).steps as { id: string }[];
  const ops = steps.map((step, n): Op => ({ do: "set", at: ["steps", n, "id"], value: `${step.id}-new` }));
  const done = patch(text, ops);
  let now = text;
  for (const { from, to, insert } of done.changes) now = now.slice(0, from) + insert + now.slice(to);
  expect(now).toBe(done.text);
  const differing = now.split("\n").filter((line, n) => line !== text.split("\n")[n]);
  expect(differing.length).toBe(steps.length);
});

test("a document that begins with nothing gets its steps as people write them", () => {
  const begin = "# mine\nkind: workflow\nslug: w\nsteps: []\n";
  const value = { id: "make", use: "blueprint:echo-source@1.0.0" };
  expect(patch(begin, [{ do: "add", at: ["steps"], value }]).text).toBe(
    "# mine\nkind: workflow\nslug: w\nsteps:\n  - id: make\n    use: blueprint:echo-source@1.0.0\n",
  );
});

test("a text that cannot be read is named by its line", () => {
  expect(project("kind: workflow\nsteps: [\nslug: a\n")).toHaveProperty("fault.line");
  expect(project("- a\n- b\n")).toEqual({ fault: { line: 1, message: "a document is a map of keys" } });
});
