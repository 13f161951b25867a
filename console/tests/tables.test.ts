import { expect, test } from "vitest";
import { daysAround, firingsOf } from "../src/pages/firings";
import { roomBeside, type WorkerRow } from "../src/pages/Workers";
import { sorted, turned, waiting } from "../src/parts/sorting";
import { bytes } from "../src/words/numbers";
import { clock, dayOf, tellIn } from "../src/words/times";

test("rows are sorted by what they are, and those without a key come last both ways", () => {
  const rows = [{ n: 10 }, { n: null }, { n: 9 }];
  expect(sorted(rows, ({ n }) => n, false).map(({ n }) => n)).toEqual([9, 10, null]);
  expect(sorted(rows, ({ n }) => n, true).map(({ n }) => n)).toEqual([10, 9, null]);
  expect(sorted(["job10", "job9"], (one) => one, false)).toEqual(["job9", "job10"]);
});

test("a title sorts upwards, downwards, and not at all", () => {
  const up = turned(null, "Job");
  expect(up).toEqual({ title: "Job", down: false });
  expect(turned(up, "Job")).toEqual({ title: "Job", down: true });
  expect(turned({ title: "Job", down: true }, "Job")).toBeNull();
});

test("new rows wait above those that were seen; where none was seen, all are shown", () => {
  const id = (one: string) => one;
  expect(waiting(["c", "b", "a"], id, new Set(["a", "b"]))).toEqual([["b", "a"], 1]);
  expect(waiting(["c", "b"], id, new Set(["gone"]))).toEqual([["c", "b"], 0]);
});

test("firings stand on their day, in the zone that is told", () => {
  tellIn("UTC");
  const run = {
    run_id: "r",
    state: "succeeded",
    cause: "schedule",
    started_at: "",
    ended_at: null,
    reason: "",
  } as const;
  const firings = firingsOf([
    {
      name: "nightly",
      next: ["2026-11-28T23:30:00Z", "2026-11-29T02:30:00+02:00"],
      runs: [{ ...run, scheduled_for: "2026-11-27T02:30:00Z" }],
    },
  ]);
  const days = daysAround(Date.parse("2026-11-28T12:00:00Z"), 1, 1, firings);
  expect(days.map(({ day, firings }) => [day, firings.length])).toEqual([
    ["2026-11-27", 1],
    ["2026-11-28", 1],
    ["2026-11-29", 1],
  ]);
  tellIn("Pacific/Auckland");
  expect(dayOf(new Date("2026-11-28T12:00:00Z"))).toBe("2026-11-29");
  tellIn("UTC");
  expect(clock("2026-11-28T23:30:00.042Z", true)).toBe("23:30:00.042");
});

test("there is room beside a worker only in its group, on workers that take jobs", () => {
  const worker = (name: string, more: object) =>
    ({ name, group: "default", state: "online", drained: false, slots: 4, jobs: 1, ...more }) as unknown as WorkerRow;
  const all = [
    worker("a", {}),
    worker("b", {}),
    worker("c", { drained: true }),
    worker("d", { group: "other" }),
    worker("e", { jobs: 4 }),
  ];
  expect(roomBeside(all, { name: "a", group: "default" })).toEqual([{ name: "b", free: 3 }]);
  expect(bytes(1536)).toBe("1.5 KiB");
});
