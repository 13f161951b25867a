// The lines of logs as rows: those in view are in the document, and what is copied is made of the data, so that lines
// which are not in view come along.

import { Button } from "@mantine/core";
import { useVirtualizer } from "@tanstack/react-virtual";
import {
  type ClipboardEvent,
  type KeyboardEvent,
  type MouseEvent,
  memo,
  type ReactNode,
  useEffect,
  useRef,
  useState,
} from "react";
import { type Piece, pieces } from "../words/ansi";
import { counted } from "../words/numbers";
import { clock, full } from "../words/times";
import { type Entry, isGap, type Line, nanosecondsOf, replicaOf, textOf } from "./logLines";

const TONES: Record<string, string> = { error: "state failed", warning: "state warning" };
const LONG = 2000; // characters of a line that are shown before it is asked for whole

interface Given {
  entries: Entry[];
  following: boolean;
  wrap: boolean;
  /** What is marked. */
  find: string;
  /** The place to look at: of what is found, or of the line that the address names. */
  at: number | null;
}

export function LogRows({ entries, following, wrap, find, at }: Given) {
  const box = useRef<HTMLDivElement>(null);
  const chosen = useRef<[number, number] | null>(null); // from where to where was dragged
  const virtual = useVirtualizer({
    count: entries.length,
    getScrollElement: () => box.current,
    estimateSize: () => 24,
    overscan: 10,
  });
  useEffect(() => {
    if (following && entries.length) virtual.scrollToIndex(entries.length - 1, { align: "end" });
  }, [following, entries.length, virtual]);
  useEffect(() => {
    if (at !== null) virtual.scrollToIndex(at, { align: "center" });
  }, [at, virtual]);
  const down = (event: MouseEvent) => {
    const place = placeOf(event.target);
    if (place !== null) chosen.current = event.shiftKey && chosen.current ? [chosen.current[0], place] : [place, place];
  };
  const up = (event: MouseEvent) => {
    const place = placeOf(event.target);
    if (place !== null && chosen.current) chosen.current = [chosen.current[0], place];
  };
  const all = (event: KeyboardEvent) => {
    if (!(event.ctrlKey || event.metaKey) || event.key !== "a") return;
    event.preventDefault();
    chosen.current = [0, entries.length - 1];
    if (box.current) getSelection()?.selectAllChildren(box.current);
  };
  const copy = (event: ClipboardEvent) => {
    const [from, to] = chosen.current ?? [0, 0];
    if (from === to) return; // a part of one line: as the browser does it
    event.preventDefault();
    event.clipboardData.setData("text/plain", textOf(entries.slice(Math.min(from, to), Math.max(from, to) + 1)));
  };
  return (
    <div
      ref={box}
      className={wrap ? "lines wrap" : "lines"}
      tabIndex={0}
      role="log"
      aria-label="Lines"
      aria-live="off"
      onMouseDown={down}
      onMouseUp={up}
      onKeyDown={all}
      onCopy={copy}
    >
      <div style={{ height: virtual.getTotalSize(), position: "relative" }}>
        {virtual.getVirtualItems().map((one) => {
          const entry = entries[one.index];
          if (!entry) return null;
          return (
            <div
              key={one.key}
              ref={virtual.measureElement}
              data-index={one.index}
              className={one.index === at ? "line here" : "line"}
              style={{ transform: `translateY(${one.start}px)` }}
            >
              {isGap(entry) ? <span className="gap">{entry.gap}</span> : <Cells line={entry} find={find} />}
            </div>
          );
        })}
      </div>
    </div>
  );
}

function placeOf(target: EventTarget): number | null {
  const row = (target as Element).closest<HTMLElement>("[data-index]");
  return row ? Number(row.dataset.index) : null;
}

/** Drawn anew only when it is another line: while a log is followed, those that are here move. */
const Cells = memo(function Cells({ line, find }: { line: Line; find: string }) {
  return (
    <>
      <a href={`#at=${nanosecondsOf(line.at)}`} title={`${full(line.at)}: a link to this line`}>
        <time dateTime={line.at}>{clock(line.at, true)}</time>
      </a>
      <span className={TONES[line.level] ?? "quiet"}>{line.level}</span>
      <span className="quiet" title={line.workload}>
        {replicaOf(line.workload)}
      </span>
      <Said text={line.text} find={find} />
    </>
  );
});

function Said({ text, find }: { text: string; find: string }) {
  const [whole, setWhole] = useState(false);
  const shown = whole ? text : text.slice(0, LONG);
  return (
    <span className="said">
      {pieces(shown).map((piece, n) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: pieces of a line stay where they are
        <Part key={n} piece={piece} find={find} />
      ))}
      {!whole && text.length > LONG && (
        <Button variant="subtle" onClick={() => setWhole(true)}>
          {counted(text.length - LONG, "character")} more
        </Button>
      )}
    </span>
  );
}

function Part({ piece, find }: { piece: Piece; find: string }) {
  const text = find ? marked(piece.text, find) : piece.text;
  if (piece.href)
    return (
      <a href={piece.href} target="_blank" rel="noopener noreferrer" className={piece.className}>
        {text}
      </a>
    );
  return piece.className ? <span className={piece.className}>{text}</span> : text;
}

function marked(text: string, find: string): ReactNode[] {
  const found: ReactNode[] = [];
  const low = text.toLowerCase();
  const wanted = find.toLowerCase();
  let at = 0;
  for (let hit = low.indexOf(wanted); hit >= 0; hit = low.indexOf(wanted, at)) {
    found.push(text.slice(at, hit), <mark key={hit}>{text.slice(hit, hit + find.length)}</mark>);
    at = hit + find.length;
  }
  found.push(text.slice(at));
  return found;
}
