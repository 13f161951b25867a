import { expect, test } from "vitest";
import { find, forget, keep } from "../src/editor/copies";

function store(full = false) {
  const kept = new Map<string, string>();
  return {
    getItem: (name: string) => kept.get(name) ?? null,
    removeItem: (name: string) => void kept.delete(name),
    setItem: (name: string, text: string) => {
      if (full) throw new DOMException("full", "QuotaExceededError");
      kept.set(name, text);
    },
  };
}
const copy = { text: "typed", base: 3, at: "2026-01-01T00:00:00Z" };

test("a copy is offered while it says something else than what is saved", () => {
  const here = store();
  expect(keep("a", copy, here)).toBe(true);
  expect(find("a", "saved", here)).toEqual(copy);
  expect(find("a", "typed", here)).toBeNull();
  forget("a", here);
  expect(find("a", "saved", here)).toBeNull();
});

test("a full browser is told, and what is not ours is left alone", () => {
  expect(keep("a", copy, store(true))).toBe(false);
  const here = store();
  here.setItem("a", "{no json");
  expect(find("a", "", here)).toBeNull();
  here.setItem("a", '{"text": 7}');
  expect(find("a", "", here)).toBeNull();
});
