// Jobs: what an edit begins with, what changed in an event, a line through what is known.

import { expect, test } from "vitest";
import { differencesOf, echoes, stateOf, textOf } from "../src/pages/jobs/text";
import { stateOf as tokenState } from "../src/pages/settings/Tokens";
import { pathOf } from "../src/parts/Chart";

test("an edit begins with the draft, else with what was written", () => {
  const job = { draft: null, document: { name: "a", region: "eu" }, written: { name: "a", region: "{{REGION}}" } };
  expect(textOf(job)).toBe('name: a\nregion: "{{REGION}}"\n');
  const draft = { revision: 1, document: "name: a # mine\n", origin: "", updated_at: "", updated_by: "" };
  expect(textOf({ ...job, draft })).toBe("name: a # mine\n");
  expect(echoes("input: {echo: {}}")).toBe(true);
  expect(echoes("input: {http-poll: {}}")).toBe(false);
  expect(echoes("input: [")).toBe(false);
});

test("what differs between two events is told by its path", () => {
  const before = { who: "ana", deep: { a: 1, b: [1] }, gone: true };
  const after = { who: "ana", deep: { a: 2, b: [1, 2] }, more: "x" };
  expect(differencesOf(before, after)).toEqual([
    { path: "deep.a", before: "1", after: "2" },
    { path: "deep.b", before: "[1]", after: "[1,2]" },
    { path: "gone", before: "true" },
    { path: "more", after: "x" },
  ]);
  expect(differencesOf(before, before)).toEqual([]);
});

test("a job is as its worst replica is", () => {
  const up = { state: "running", health: "healthy" };
  expect(stateOf({ workloads: [up, { state: "running", health: "failing" }], draft: null, version: 1 })).toBe(
    "failing",
  );
  expect(stateOf({ workloads: [], draft: {}, version: null })).toBe("draft");
  expect(stateOf({ workloads: [], draft: null, version: 2 })).toBe("staged");
});

test("a line has gaps where nothing is known, and a dot for one value", () => {
  const points = [1, null, 0].map((value, place) => ({ at: place, value }));
  expect(pathOf(points, 1)).toBe("M0.0 8.0h0M800.0 192.0h0");
});

test("a token is over when it is revoked or its time has come", () => {
  expect(tokenState({ revoked: true, expires_at: null })).toBe("revoked");
  expect(tokenState({ revoked: false, expires_at: "2020-01-01T00:00:00Z" })).toBe("expired");
  expect(tokenState({ revoked: false, expires_at: null })).toBe("valid");
});
