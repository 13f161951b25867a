// What is in the way, or may be: each with what to do about it.

import type { Schemas } from "../api/client";

type Finding = Schemas["Finding"];

export function Findings({ items, tone, title }: { items: Finding[]; tone: "failed" | "warning"; title: string }) {
  return items.map((one) => (
    <div key={`${one.message} ${one.hint}`} className={`note ${tone}`}>
      <p>
        <strong>{title}:</strong> {one.message}
      </p>
      {one.hint && <p>{one.hint}</p>}
    </div>
  ));
}
