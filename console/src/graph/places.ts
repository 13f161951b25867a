// Asks the layout worker; a small graph is placed at once.

import { useEffect, useState } from "react";
import { type Ask, type Places, place } from "./layout";

const SMALL = 60;
let worker: Worker | undefined;
let asked = 0;

function inWorker(ask: Ask): Promise<Places> {
  worker ??= new Worker(new URL("./layout.worker.ts", import.meta.url), { type: "module" });
  const made = worker;
  const id = ++asked;
  return new Promise((done, fail) => {
    const hear = ({ data }: MessageEvent<{ id: number; places: Places }>) => {
      if (data.id !== id) return;
      made.removeEventListener("message", hear);
      done(data.places);
    };
    made.addEventListener("message", hear);
    made.addEventListener("error", () => fail(new Error("the layout failed")), { once: true });
    made.postMessage({ id, ask });
  });
}

/** The places of nodes, by the structure that `key` stands for. */
export function usePlaces(key: string, ask: Ask): Places | null {
  const [found, setFound] = useState<{ key: string; places: Places } | null>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key stands for what is asked
  useEffect(() => {
    let wanted = true;
    const began = performance.now();
    const keep = (places: Places) => {
      performance.measure("layout", { start: began });
      if (wanted) setFound({ key, places });
    };
    if (ask.nodes.length <= SMALL) keep(place(ask));
    else inWorker(ask).then(keep, () => keep(place(ask)));
    return () => {
      wanted = false;
    };
  }, [key]);
  return found?.key === key ? found.places : null;
}
