// An age that keeps its word, with the time in full on hover and in the copy.

import { useSyncExternalStore } from "react";
import { ago, full } from "../words/times";

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

export function Age({ at }: { at: string | null | undefined }) {
  useSyncExternalStore(subscribe, () => (at ? ago(at) : String(ticks * 0)));
  if (!at) return <span className="quiet">–</span>;
  return (
    <time dateTime={at} title={full(at)}>
      {ago(at)}
    </time>
  );
}
