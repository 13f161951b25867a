// What jobs wrote: searched on the server, followed as it comes. Times run downwards; the newest line is the last one.

import { Button, Checkbox } from "@mantine/core";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useMemo, useRef, useState } from "react";
import { call, Problem, type Schemas } from "../api/client";
import { ChoiceFilter, given, TextFilter, useFilters } from "../parts/filters";
import { Head, Loading, Refusal } from "../parts/Page";
import { useTenant } from "../parts/session";
import { counted } from "../words/numbers";
import { full } from "../words/times";

export type Line = Schemas["LogLine"];

type Found = Schemas["FoundLines"];

const LEVELS = ["info", "warning", "error"] as const;
const SINCE = ["5m", "1h", "6h", "24h", "7d"] as const;

interface Wanted {
  of?: string;
  text?: string;
  level?: (typeof LEVELS)[number];
  since?: (typeof SINCE)[number];
  run?: string;
  invocation?: string;
}

const PAGE = 200;
const MOST = 50_000;
const WAIT_SECONDS = 20;
const AGAIN_MS = 2000;
const TONES: Record<string, string> = { error: "state failed", warning: "state warning" };

/** The lines that there are and the newer ones, the newest last, and no more than may be kept. */
export const appended = (lines: Line[], newer: Line[]): Line[] => [...lines, ...newer].slice(-MOST);

/** The job of a workload: `tenant/job#replica`. */
export const jobOf = (workload: string): string => workload.replace(/^[^/]*\//, "").replace(/#\d+$/, "");

export function Logs() {
  const [wanted, say] = useFilters<Wanted>();
  const tenant = useTenant();
  const asked = useMemo(() => given(wanted), [wanted]);
  const [lines, setLines] = useState<Line[]>([]);
  const [last, setLast] = useState<Found | null>(null); // of the search backwards
  const [following, setFollowing] = useState(true);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [gaps, setGaps] = useState(0);
  const after = useRef("");

  useEffect(() => {
    const ended = new AbortController();
    setLast(null);
    setLines([]);
    setProblem(null);
    call("log_search", { ...asked, limit: PAGE }, { tenant, signal: ended.signal }).then(
      (found) => {
        after.current = found.after;
        setLines(found.items.toReversed());
        setLast(found);
      },
      (error) => error instanceof Problem && setProblem(error),
    );
    return () => ended.abort();
  }, [asked, tenant]);

  const begun = last !== null;
  useEffect(() => {
    if (!following || !begun) return;
    const ended = new AbortController();
    const { since, ...filters } = asked;
    async function follow() {
      while (!ended.signal.aborted) {
        try {
          const wait = document.hidden ? 0 : WAIT_SECONDS;
          const found = await call(
            "log_search",
            { ...filters, after: after.current, limit: 500, wait_seconds: wait },
            { tenant, signal: ended.signal },
          );
          after.current = found.after;
          if (found.reset) setGaps((many) => many + 1);
          if (found.items.length) setLines((now) => appended(now, found.items));
          setProblem(null);
          if (document.hidden) await pause(AGAIN_MS, ended.signal);
        } catch (error) {
          if (ended.signal.aborted) return;
          if (error instanceof Problem) setProblem(error);
          await pause(AGAIN_MS, ended.signal);
        }
      }
    }
    void follow();
    return () => ended.abort();
  }, [following, begun, asked, tenant]);

  async function older() {
    if (!last?.next_cursor) return;
    try {
      const found = await call("log_search", { ...asked, limit: PAGE, cursor: last.next_cursor }, { tenant });
      setLines((now) => [...found.items.toReversed(), ...now]);
      setLast(found);
    } catch (error) {
      if (error instanceof Problem) setProblem(error);
      else throw error;
    }
  }

  return (
    <>
      <Head title="Logs" state={<span className="quiet">{counted(lines.length, "line")}</span>} />
      <div className="filters">
        <TextFilter label="Job or deployment" value={wanted.of} set={(of) => say({ of })} />
        <TextFilter label="Text" value={wanted.text} set={(text) => say({ text })} />
        <ChoiceFilter label="Level" any="Any level" of={LEVELS} value={wanted.level} set={(level) => say({ level })} />
        <ChoiceFilter label="Since" any="Any time" of={SINCE} value={wanted.since} set={(since) => say({ since })} />
        {(wanted.run || wanted.invocation) && (
          <Button variant="light" onClick={() => say({ run: undefined, invocation: undefined })}>
            Of {wanted.run ?? wanted.invocation} ✕
          </Button>
        )}
        <Checkbox label="Follow" checked={following} onChange={(event) => setFollowing(event.currentTarget.checked)} />
      </div>
      {problem && <Refusal problem={problem} />}
      {gaps > 0 && <div className="note warning">Lines between are not kept any more: there is a gap.</div>}
      {!last && !problem && <Loading />}
      {last?.next_cursor && (
        <Button variant="subtle" onClick={() => void older()}>
          Look further back{last.searched_until ? ` than ${full(last.searched_until)}` : ""}
        </Button>
      )}
      {last && !lines.length && <p className="quiet">No line fits.</p>}
      {lines.length > 0 && <LineRows lines={lines} following={following} />}
    </>
  );
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((go) => {
    const timer = setTimeout(go, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      go();
    });
  });
}

function LineRows({ lines, following }: { lines: Line[]; following: boolean }) {
  const box = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: lines.length,
    getScrollElement: () => box.current,
    estimateSize: () => 20,
    overscan: 30,
  });
  useEffect(() => {
    if (following && lines.length) virtual.scrollToIndex(lines.length - 1, { align: "end" });
  }, [following, lines.length, virtual]);
  return (
    <div ref={box} className="lines" tabIndex={0} role="log" aria-label="Lines" aria-live="off">
      <div style={{ height: virtual.getTotalSize(), position: "relative" }}>
        {virtual.getVirtualItems().map((one) => {
          const line = lines[one.index];
          if (!line) return null;
          return (
            <div
              key={one.key}
              ref={virtual.measureElement}
              data-index={one.index}
              className="line"
              style={{ transform: `translateY(${one.start}px)` }}
            >
              <time dateTime={line.at} title={full(line.at)}>
                {line.at.slice(11, 23)}
              </time>
              <span className={TONES[line.level] ?? "quiet"}>{line.level}</span>
              <span className="quiet" title={line.workload}>
                {jobOf(line.workload)}
              </span>
              <span className="said">{line.text}</span>
            </div>
          );
        })}
      </div>
    </div>
  );
}
