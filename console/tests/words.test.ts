import { expect, test } from "vitest";
import { pieces } from "../src/words/ansi";
import { coded, visible } from "../src/words/code";
import { read } from "../src/words/exact";
import { count, counted, rate } from "../src/words/numbers";
import { ago, heard, now, span } from "../src/words/times";

test("ages are in one unit", () => {
  const at = Date.parse("2026-01-01T12:00:00Z");
  expect(ago("2026-01-01T11:57:00Z", at)).toBe("3 min ago");
  expect(ago("2026-01-01T12:00:05Z", at)).toBe("in 5 s");
  expect(ago("2026-01-01T12:00:00.400Z", at)).toBe("now");
  expect(ago("nonsense", at)).toBe("nonsense");
  expect(span(3 * 86_400_000)).toBe("3 d");
});

test("ages follow the clock of the server, not a wrong one of the browser", () => {
  heard(new Date(Date.now() + 3_600_000).toUTCString());
  expect(now() - Date.now()).toBeGreaterThan(3_500_000);
  heard("no date");
  heard(null);
  expect(now() - Date.now()).toBeGreaterThan(3_500_000);
});

test("what is not known is a dash and never 0", () => {
  expect(rate(null)).toBe("–");
  expect(rate(0)).toBe("0/s");
  expect(rate(0.25)).toBe("0.3/s");
  expect(rate(0.05)).toBe("3.0/min");
  expect(count(12)).toBe("12");
  expect(counted(1, "worker")).toBe("1 worker");
  expect(counted(2, "worker")).toBe("2 workers");
});

test("integers keep all their digits from the answer to the page and back", () => {
  const text = '{"at":1795848066230869623,"n":[9007199254740993,12],"t":"9007199254740993"}';
  expect(JSON.stringify(read(text))).toBe(text);
  expect(`${(read("[1795848066230869623]") as unknown[])[0]}`).toBe("1795848066230869623");
  expect(read('{"small":12}')).toEqual({ small: 12 });
});

test("what turns the direction or has no width is written out as code", () => {
  expect(visible("a\u202eb\u200b\u2066\ufeff\u0007\u{e0041}")).toBe(
    "a\\u202eb\\u200b\\u2066\\ufeff\\u0007\\udb40\\udc41",
  );
  expect(visible("a\tb\r\nc אب é 🚀️")).toBe("a\tb\r\nc אب é 🚀️");
  expect(JSON.parse(coded({ a: "x\u202e" }, 2))).toEqual({ a: "x\u202e" });
  expect(coded(undefined)).toBe("");
  expect(pieces("\x1b[31mred\u202e\x1b[0m")).toEqual([{ text: "red\\u202e", className: "ansi-1" }]);
});
