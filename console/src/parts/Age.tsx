// An age that keeps its word, with the time in full on hover and in the copy.

import { useSyncExternalStore } from "react";
import { ago, full, now } from "../words/times";

let ticks = 0;
const heard = new Set<() => void>();
setInterval(() => {
  ticks += 1;
  for (const tell of heard) tell();
}, 1000);

function subscribe(tell: () => void) {
  heard.add(tell);
  return () => void heard.delete(tell);
}

interface Given {
  at: string | null | undefined;
  /** It is to come: what is over by the time of the next look is due now. */
  due?: boolean;
}

export function Age({ at, due = false }: Given) {
  const word = () => (at ? (due && Date.parse(at) <= now() ? "now" : ago(at)) : String(ticks * 0));
  useSyncExternalStore(subscribe, word);
  if (!at) return <span className="quiet">–</span>;
  return (
    <time dateTime={at} title={full(at)}>
      {word()}
    </time>
  );
}
