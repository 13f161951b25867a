// Things, pages and actions by their names: Ctrl+K.

import { Modal, TextInput } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { type KeyboardEvent, useDeferredValue, useEffect, useRef, useState } from "react";
import { useList } from "../api/queries";
import { GROUPS } from "../pages/Frame";
import { useKept } from "../parts/kept";
import { useAdmin } from "../parts/session";
import { fits } from "./keys";

interface Found {
  kind: string;
  name: string;
  go: () => void;
}

const MOST = 12;
const ROWS = 8; // of each kind of thing

/** What there is by the name that is typed; things come from the engine, whose search it is. */
function useThings(wanted: string, to: (path: string) => void): Found[] {
  const asked = { enabled: wanted.length > 1 };
  const deployments = useList("deployment_list", { query: wanted, limit: ROWS }, asked);
  const jobs = useList("job_list", { query: wanted, limit: ROWS }, asked);
  const items = useList("catalog_search", { query: wanted, limit: ROWS }, asked);
  const triggers = useList("trigger_list", {}, asked);
  const workers = useList("worker_list", {}, asked);
  const schedules = useList("schedule_list", {}, asked);
  if (!asked.enabled) return [];
  const of = (kind: string, names: [string, string][]) =>
    names.map(([name, path]) => ({ kind, name, go: () => to(path) }));
  return [
    ...of(
      "Deployment",
      deployments.rows.map(({ name }) => [name, `/deployments/${name}`]),
    ),
    ...of(
      "Job",
      jobs.rows.map(({ name }) => [name, `/jobs/${name}`]),
    ),
    ...of(
      "Trigger",
      triggers.rows.map(({ slug, display_name }) => [`${display_name} ${slug}`.trim(), `/triggers/${slug}`]),
    ),
    ...of(
      "Worker",
      workers.rows.map(({ name }) => [name, `/workers/${name}`]),
    ),
    ...of(
      "Schedule",
      schedules.rows.map(({ name }) => [name, `/schedules/${name}`]),
    ),
    ...of(
      "Catalog",
      items.rows.map(({ type, slug, title }) => [`${title} ${slug}`, `/catalog/${type}/${slug}`]),
    ),
  ];
}

interface Given {
  close: () => void;
  help: () => void;
}

export default function Palette({ close, help }: Given) {
  const navigate = useNavigate();
  const admin = useAdmin();
  const [times, setTimes] = useKept("times");
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const list = useRef<HTMLDivElement>(null);
  const wanted = useDeferredValue(text.trim());
  const to = (path: string) => {
    close();
    void navigate({ to: path });
  };
  const things = useThings(wanted, to);
  const pages = GROUPS.flatMap(([, links]) => links).map(([path, name]) => ({
    kind: "Page",
    name,
    go: () => to(path),
  }));
  const actions: Found[] = [
    ...(admin
      ? [
          { kind: "Action", name: "Create deployment", go: () => to("/catalog") },
          { kind: "Action", name: "Publish a trigger", go: () => to("/new-trigger") },
        ]
      : []),
    {
      kind: "Action",
      name: times === "utc" ? "Tell times in the zone of this browser" : "Tell times in UTC",
      go: () => {
        setTimes(times === "utc" ? "" : "utc");
        close();
      },
    },
    { kind: "Action", name: "Show the keys", go: help },
  ];
  const found = [...pages, ...actions, ...things]
    .map((one) => ({ ...one, rank: fits(`${one.name} ${one.kind}`, wanted) }))
    .filter(({ rank }) => rank > 0)
    .sort((a, b) => b.rank - a.rank || a.name.length - b.name.length)
    .slice(0, MOST);
  const chosen = Math.min(at, found.length - 1);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the one that is chosen comes into view
  useEffect(() => {
    list.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }, [chosen]);
  const press = (event: KeyboardEvent) => {
    if (event.key === "Enter") found[chosen]?.go();
    else if (event.key === "ArrowDown") setAt(Math.min(found.length - 1, chosen + 1));
    else if (event.key === "ArrowUp") setAt(Math.max(0, chosen - 1));
    else return;
    event.preventDefault();
  };
  return (
    <Modal opened onClose={close} withCloseButton={false} padding="xs" aria-label="Go to" yOffset="10vh">
      <TextInput
        aria-label="Things, pages and actions"
        placeholder="Things, pages and actions"
        data-autofocus
        role="combobox"
        aria-expanded
        aria-controls="found"
        aria-activedescendant={found.length ? `found-${chosen}` : undefined}
        value={text}
        onChange={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={press}
      />
      <div ref={list} id="found" role="listbox" aria-label="What fits" className="found">
        {found.map((one, n) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the field above has the keys
          <div
            key={`${one.kind} ${one.name}`}
            id={`found-${n}`}
            role="option"
            tabIndex={-1}
            aria-selected={n === chosen}
            onClick={one.go}
          >
            <span>{one.name}</span>
            <span className="quiet">{one.kind}</span>
          </div>
        ))}
      </div>
      {!found.length && <p className="quiet">Nothing is called so.</p>}
    </Modal>
  );
}
