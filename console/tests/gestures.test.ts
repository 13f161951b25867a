import { expect, test } from "vitest";
import { parseDocument } from "yaml";
import { draw } from "../src/editor/drawing";
import * as gestures from "../src/editor/gestures";
import { type Op, same } from "../src/editor/ops";
import { patch } from "../src/editor/patch";
import { type Picture, pictureOf, project, rangeOf, stepAt } from "../src/editor/project";

const TEXT = `# what it is for
kind: workflow
slug: w
channels:
  kept: {transport: file-store, with: {path: spool}} # on disk
steps:
  # makes
  - {id: make, use: "blueprint:echo-source@1.0.0", out: channel:made} # first
  - id: keep
    use: blueprint:field-remover@1.0.0 # which
    in: channel:made
    out: channel:kept
  - id: show
    use: blueprint:file-printer@1.0.0
    in: channel:kept
messages:
  - {from: keep, to: show, tag: written}
`;
const module = (use: string, ins: string[], outs: string[]): gestures.Module => ({
  ...{ use, part: "", does: "", in: ins, out: outs },
});
const MODULES = new Map(
  [
    module("blueprint:echo-source@1.0.0", [], ["out"]),
    module("blueprint:field-remover@1.0.0", ["in"], ["out"]),
    module("blueprint:file-printer@1.0.0", ["in"], []),
    module("blueprint:join@1.0.0", ["left", "right"], ["out"]),
  ].map((one) => [one.use, one]),
);

function pictureIn(text: string): Picture {
  const projected = project(text);
  if (!("picture" in projected)) throw new Error(projected.fault.message);
  return projected.picture;
}

const step = (picture: Picture, id: string) => {
  const found = picture.steps.find((one) => one.id === id);
  if (!found) throw new Error(`there is no step ${id}`);
  return found;
};

const done = (text: string, ops: Op[]) => patch(text, ops).text;
const linesOf = (text: string) =>
  draw(pictureIn(text), MODULES).lines.map(({ kind, from, to, label }) => `${from} -${label}-> ${to} (${kind})`);

test("what is drawn is what the text says", () => {
  expect(linesOf(TEXT)).toEqual([
    "make -made-> keep (channel)",
    "keep -kept-> show (channel)",
    "keep -written-> show (message)",
  ]);
  expect(draw(pictureIn(TEXT), MODULES).lines[1]?.transport).toBe("file-store");
});

test("a step is renamed where it is named, and nothing else moves", () => {
  const picture = pictureIn(TEXT);
  const text = done(TEXT, gestures.renameStep(picture, step(picture, "keep"), "hold"));
  expect(text).toBe(TEXT.replace("- id: keep", "- id: hold").replace("{from: keep", "{from: hold"));
});

test("a step that goes takes its messages and the settings of its own channels along", () => {
  const picture = pictureIn(TEXT);
  const text = done(TEXT, gestures.removeStep(picture, step(picture, "show")));
  expect(pictureIn(text).messages).toEqual([]);
  expect(pictureIn(text).channels).toHaveProperty("kept"); // the other one still writes to it
  expect(pictureIn(done(text, gestures.removeStep(pictureIn(text), step(pictureIn(text), "keep")))).channels).toEqual(
    {},
  );
});

test("a step is put behind another one, and into a way", () => {
  const picture = pictureIn(TEXT);
  const remover = MODULES.get("blueprint:field-remover@1.0.0");
  if (!remover) throw new Error("no module");
  const behind = done(TEXT, gestures.addStep(picture, remover, step(picture, "make"), ["out"]));
  expect(linesOf(behind)).toContain("make -made-> field-remover (channel)");
  const between = done(TEXT, gestures.insertBefore(picture, remover, "kept", step(picture, "show"), ["in"]));
  expect(linesOf(between)).toEqual([
    "make -made-> keep (channel)",
    "keep -kept-> field-remover (channel)",
    "field-remover -field-remover-> show (channel)",
    "keep -written-> show (message)",
  ]);
  for (const comment of ["# what it is for", "# on disk", "# makes", "# first", "# which"]) {
    expect(behind).toContain(comment);
    expect(between).toContain(comment);
  }
});

test("ports are connected by name, and over the channel that is there", () => {
  const text = done(TEXT, [{ do: "add", at: ["steps"], value: { id: "both", use: "blueprint:join@1.0.0" } }]);
  const ends = (picture: Picture, id: string, port: string, ports: string[]) => ({
    step: step(picture, id),
    port,
    ports,
  });
  const join = (now: string, from: string, port: string) => {
    const picture = pictureIn(now);
    return done(
      now,
      gestures.connect(picture, ends(picture, from, "out", ["out"]), ends(picture, "both", port, ["left", "right"])),
    );
  };
  const joined = join(join(text, "make", "left"), "keep", "right");
  expect(step(pictureIn(joined), "both").in).toEqual({ left: "channel:made", right: "channel:kept" });
  expect(linesOf(joined)).toContain("make -made-> both (channel)");
  const picture = pictureIn(joined);
  const apart = done(joined, gestures.disconnect(picture, "kept", step(picture, "keep"), step(picture, "both")));
  expect(step(pictureIn(apart), "both").in).toEqual({ left: "channel:made" });
});

test("events are spread over outputs, and over none again", () => {
  let text = done(TEXT, gestures.setDispatch(step(pictureIn(TEXT), "keep"), "conditional"));
  expect(step(pictureIn(text), "keep").out).toEqual({ main: "channel:kept" });
  text = done(text, gestures.addOutput(pictureIn(text), step(pictureIn(text), "keep"), "rest"));
  expect(step(pictureIn(text), "keep").out.rest).toBe("channel:keep-rest");
  const once = { ...pictureIn(text) };
  text = done(text, gestures.setDispatch(step(once, "keep"), null));
  expect(step(pictureIn(text), "keep").out).toEqual({ "": "channel:kept" });
});

test("a channel is renamed everywhere, and gets and loses a transport", () => {
  const renamed = done(TEXT, gestures.renameChannel(pictureIn(TEXT), "kept", "spool"));
  expect(renamed).toBe(TEXT.replaceAll("channel:kept", "channel:spool").replace("kept: {", "spool: {"));
  const without = done(TEXT, gestures.setTransport(pictureIn(TEXT), "kept", "worker-channel"));
  expect(pictureIn(without).channels).toEqual({});
  const durable = done(TEXT, gestures.setTransport(pictureIn(TEXT), "made", "jetstream"));
  expect(pictureIn(durable).channels.made).toEqual({ transport: "jetstream", with: {} });
});

test("parameters that were not touched, and defaults, are not written", () => {
  const picture = pictureOf({ steps: [{ id: "a", with: { path: "p", many: 3 } }] });
  const next = { path: "p", many: undefined, interval: "1s", fresh: true, list: ["a", undefined], none: [undefined] };
  const ops = gestures.setParameters(step(picture, "a"), next, { interval: "1s" }, same);
  expect(ops).toEqual([
    { do: "set", at: ["steps", 0, "with", "fresh"], value: true },
    { do: "set", at: ["steps", 0, "with", "list"], value: ["a"] },
    { do: "remove", at: ["steps", 0, "with", "many"] },
  ]);
});

test("elements are found in the text, and the text leads back to them", () => {
  const [from, to] = rangeOf(TEXT, ["steps", 1, "use"]);
  expect(TEXT.slice(from, to)).toBe("blueprint:field-remover@1.0.0");
  expect(stepAt(TEXT, from)).toBe(1);
  expect(stepAt(TEXT, 3)).toBeNull();
  expect(parseDocument(TEXT).errors).toEqual([]);
});
