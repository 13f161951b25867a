import { expect, test } from "vitest";
import { ABOUT } from "../src/live/notices";
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
