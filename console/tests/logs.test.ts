import { expect, test } from "vitest";
import { appended, hits, isoOf, type Line, linkedAt, nanosecondsOf, textOf } from "../src/pages/logLines";
import { pieces, plain } from "../src/words/ansi";

const line = (text: string, at = "2026-11-28T05:00:00.123456789Z"): Line => ({
  workload: "default/job#0",
  at,
  level: "info",
  text,
});

test("colours of terminals are classes, and nothing of them is left in the text", () => {
  expect(pieces("\x1b[1;31mbad\x1b[0m good")).toEqual([
    { text: "bad", className: "ansi-bold ansi-1" },
    { text: " good" },
  ]);
  expect(pieces("\x1b[92mx\x1b[39my")).toEqual([{ text: "x", className: "ansi-10" }, { text: "y" }]);
  expect(plain("\x1b]0;title\x07a\x1b[2Kb\x1b[31mc")).toBe("abc");
});

test("addresses are links with http alone, and markup is text", () => {
  expect(pieces("see https://a.example/x?y=1. Or javascript:alert(1) <b>")).toEqual([
    { text: "see " },
    { text: "https://a.example/x?y=1", href: "https://a.example/x?y=1" },
    { text: ". Or javascript:alert(1) <b>" },
  ]);
});

test("a line is linked by its nanosecond", () => {
  const at = nanosecondsOf("2026-11-28T05:00:00.123456789Z");
  expect(isoOf(at)).toBe("2026-11-28T05:00:00.123456789Z");
  expect(linkedAt(`#at=${at}`)).toBe(at);
  expect(linkedAt("at=12x")).toBeNull();
  expect(nanosecondsOf("2026-11-28T06:00:00.5+01:00")).toBe(nanosecondsOf("2026-11-28T05:00:00.500Z"));
});

test("a gap is a row between lines, and what is found and copied does not depend on what is in view", () => {
  const entries = appended([line("\x1b[31mfirst\x1b[0m")], [line("second")], true);
  expect(entries).toHaveLength(3);
  expect(hits(entries, "FIRST")).toEqual([0]);
  expect(hits(entries, "31m")).toEqual([]);
  expect(textOf(entries).split("\n")).toEqual([
    "2026-11-28T05:00:00.123456789Z info job#0 first",
    "--- Lines between are kept no more.",
    "2026-11-28T05:00:00.123456789Z info job#0 second",
  ]);
  expect(
    appended(
      Array.from({ length: 50_000 }, () => line("x")),
      [line("last")],
      false,
    ),
  ).toHaveLength(50_000);
});
