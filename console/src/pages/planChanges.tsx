// One change of a plan, or between two revisions: what is done to what, and its values before and after.

import type { Schemas } from "../api/client";
import { State } from "../parts/State";
import { visible } from "../words/code";

const OPEN = new Set(["update", "remove", "move"]);

/** `path: before -> after`, with both told apart. */
export function Move({ text }: { text: string }) {
  const [, path, before, after] = /^(.*?): (.*) -> (.*)$/s.exec(visible(text)) ?? [];
  if (path === undefined) return <div className="mono">{visible(text)}</div>;
  return (
    <div className="mono">
      {path}: <span className="before">{before}</span> → <span className="after">{after}</span>
    </div>
  );
}

export function Change({ change: one }: { change: Schemas["PlannedChange"] }) {
  return (
    <details className="change" open={OPEN.has(one.action)}>
      <summary>
        <State word={one.action} /> <span className="quiet">{one.kind}</span> <code>{visible(one.id)}</code>{" "}
        <span className="quiet">
          {one.where} {one.reason}
        </span>
      </summary>
      <div className="values">
        {(one.values ?? []).map((value) => (
          <Move key={value} text={value} />
        ))}
        {one.diff && <pre className="text">{visible(one.diff)}</pre>}
      </div>
    </details>
  );
}
