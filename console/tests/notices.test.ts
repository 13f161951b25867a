import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { expect, test } from "vitest";
import { wholeOf } from "../src/api/queries";
import { ABOUT, askAgain } from "../src/live/notices";
import { events } from "../src/live/stream";

const stream = (...parts: string[]) =>
  new ReadableStream<Uint8Array>({
    start(controller) {
      for (const part of parts) controller.enqueue(new TextEncoder().encode(part));
      controller.close();
    },
  });

test("notices are read from the pieces in which they come; what is none is a sign of life", async () => {
  const told = JSON.stringify({ kind: "deployment", data: { tenant: "a", name: "ü" } });
  const seen = [];
  for await (const one of events(
    stream(
      "retry: 3000\n: conn",
      `ected\n\nevent: notice\ndata: ${told.slice(0, 20)}`,
      `${told.slice(20)}\n\n`,
      "data: {\n\n: alive\n\n",
    ),
  ))
    seen.push(one);
  expect(seen).toEqual([null, JSON.parse(told), null, null]);
});

test("every kind of notice is about some reads", () => {
  for (const names of Object.values(ABOUT)) expect(names.length).toBeGreaterThan(0);
});

test("a request on its way is not cancelled by notices, and is repeated once after them", async () => {
  const client = new QueryClient();
  const answers: ((value: string) => void)[] = [];
  const cancelled: unknown[] = [];
  const observer = new QueryObserver(client, {
    queryKey: ["tenant", "worker_list", {}],
    queryFn: ({ signal }) => {
      signal.addEventListener("abort", () => cancelled.push(signal.reason));
      return new Promise<string>((answer) => answers.push(answer));
    },
  });
  const asked = (many: number) => expect.poll(() => answers.length).toBe(many);
  const shown: unknown[] = [];
  const leave = observer.subscribe(({ data }) => shown.at(-1) !== data && shown.push(data));
  await asked(1);
  for (const [many, answer] of ["first", "second", "third"].entries()) {
    const again = [askAgain(client, ["worker_"]), askAgain(client, ["worker_list"]), askAgain(client, ["job_"])];
    await again[2]; // nothing is about jobs
    answers[many]?.(answer);
    await asked(many + 2); // two notices are one question
    await expect.poll(() => shown.at(-1)).toBe(answer);
  }
  answers[3]?.("fourth");
  await expect.poll(() => shown.at(-1)).toBe("fourth");
  expect(shown.filter(Boolean)).toEqual(["first", "second", "third", "fourth"]);
  expect(cancelled).toEqual([]);
  leave();
});

test("a list that is read as a whole has the rows of all of its pages", async () => {
  const pages: Record<string, { items: number[]; next_cursor: string | null; total: number }> = {
    "": { items: [1, 2], next_cursor: "b", total: 5 },
    b: { items: [3, 4], next_cursor: "c", total: 5 },
    c: { items: [5], next_cursor: null, total: 5 },
  };
  const asked: string[] = [];
  const whole = await wholeOf((cursor) => {
    asked.push(cursor);
    return Promise.resolve(pages[cursor] ?? { items: [] });
  });
  expect(whole).toEqual({ items: [1, 2, 3, 4, 5], next_cursor: null, total: 5 });
  expect(asked).toEqual(["", "b", "c"]);
});
