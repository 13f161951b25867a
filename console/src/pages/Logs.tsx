// What jobs wrote: searched on the server, followed as it comes. Times run downwards; the newest line is the last one.

import { Button, Checkbox, TextInput } from "@mantine/core";
import { useLocation } from "@tanstack/react-router";
import { useEffect, useMemo, useRef, useState } from "react";
import { call, Problem, type Schemas } from "../api/client";
import { ChoiceFilter, given, TextFilter, useFilters } from "../parts/filters";
import { useKept } from "../parts/kept";
import { Head, Loading, Refusal } from "../parts/Page";
import { useTenant } from "../parts/session";
import { counted } from "../words/numbers";
import { full } from "../words/times";
import { LogRows } from "./LogRows";
import { appended, type Entry, hits, isGap, isoOf, linkedAt, nanosecondsOf, textOf } from "./logLines";

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
const WAIT_SECONDS = 20;
const AGAIN_MS = 2000;
const GATHER_MS = 100; // of lines that come are shown together
const AROUND_NS = 2_000_000_000n; // of a line that is linked: what was written so long after it is shown as well

export function Logs() {
  const [wanted, say] = useFilters<Wanted>();
  const tenant = useTenant();
  const asked = useMemo(() => given(wanted), [wanted]);
  const [entries, setEntries] = useState<Entry[]>([]);
  const [last, setLast] = useState<Found | null>(null); // of the search backwards
  const linked = linkedAt(useLocation({ select: ({ hash }) => hash }));
  const first = useRef(linked); // where the page was opened; links that are pressed on it lead to what is here
  const [following, setFollowing] = useState(linked === null);
  const [wrap, setWrap] = useKept("wrap");
  const [find, setFind] = useState("");
  const [hit, setHit] = useState(0);
  const finding = useRef<HTMLInputElement>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const after = useRef("");

  useEffect(() => {
    const ended = new AbortController();
    setLast(null);
    setEntries([]);
    setProblem(null);
    const until = first.current === null ? {} : { until: isoOf(first.current + AROUND_NS) };
    call("log_search", { ...asked, ...until, limit: PAGE }, { tenant, signal: ended.signal }).then(
      (found) => {
        after.current = found.after;
        setEntries(found.items.toReversed());
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
          if (found.reset || found.items.length) setEntries((now) => appended(now, found.items, found.reset ?? false));
          setProblem(null);
          await pause(document.hidden ? AGAIN_MS : GATHER_MS, ended.signal);
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
      setEntries((now) => [...found.items.toReversed(), ...now]);
      setLast(found);
    } catch (error) {
      if (error instanceof Problem) setProblem(error);
      else throw error;
    }
  }

  const found = useMemo(() => hits(entries, find), [entries, find]);
  const at = useMemo(() => {
    if (find) return found[hit % Math.max(1, found.length)] ?? null;
    if (linked === null) return null;
    const place = entries.findIndex((entry) => !isGap(entry) && nanosecondsOf(entry.at) === linked);
    return place < 0 ? null : place;
  }, [find, found, hit, linked, entries]);
  useEffect(() => {
    const open = (event: KeyboardEvent) => {
      if (!(event.ctrlKey || event.metaKey) || event.key !== "f") return;
      event.preventDefault(); // the browser's own would find what is in view alone
      finding.current?.focus();
    };
    window.addEventListener("keydown", open);
    return () => window.removeEventListener("keydown", open);
  }, []);

  return (
    <>
      <Head title="Logs" state={<span className="quiet">{counted(entries.length, "line")}</span>} />
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
        <Checkbox
          label="Wrap"
          checked={wrap !== "off"}
          onChange={(event) => setWrap(event.currentTarget.checked ? "" : "off")}
        />
        <TextInput
          ref={finding}
          aria-label="Find in these lines"
          placeholder="Find (Ctrl+F)"
          w={140}
          value={find}
          onChange={(event) => {
            setFind(event.currentTarget.value);
            setHit(0);
            if (event.currentTarget.value) setFollowing(false);
          }}
          onKeyDown={(event) => {
            if (event.key === "Enter") setHit(hit + (event.shiftKey ? found.length - 1 : 1));
            if (event.key === "Escape") setFind("");
          }}
        />
        {find && (
          <span role="status">
            {found.length ? `${(hit % found.length) + 1} of ${found.length}` : "not in these lines"}{" "}
            <Button variant="subtle" onClick={() => say({ text: find })}>
              Search all on the server
            </Button>
          </span>
        )}
        <Button variant="subtle" onClick={() => void navigator.clipboard.writeText(textOf(entries))}>
          Copy all
        </Button>
      </div>
      {problem && <Refusal problem={problem} />}
      {last && linked !== null && at === null && !find && (
        <div className="note warning">The line that this link names is not among these: it may be kept no more.</div>
      )}
      {!last && !problem && <Loading />}
      {last?.next_cursor && (
        <Button variant="subtle" onClick={() => void older()}>
          Look further back{last.searched_until ? ` than ${full(last.searched_until)}` : ""}
        </Button>
      )}
      {last && !entries.length && <p className="quiet">No line fits.</p>}
      {entries.length > 0 && (
        <LogRows entries={entries} following={following} wrap={wrap !== "off"} find={find} at={at} />
      )}
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
