// What a workflow can be built of: found by words, put in by a click, Enter or a drag.

import { TextInput, UnstyledButton } from "@mantine/core";
import { type RefObject, useEffect, useState } from "react";
import { useList } from "../api/queries";
import type { Module } from "./gestures";
import { moduleOf } from "./modules";

export const DRAGGED = "application/x-sluice-module";

interface Given {
  add: (module: Module) => void;
  search: RefObject<HTMLInputElement | null>;
  disabled: boolean;
  /** Where the next one goes. */
  place: string;
}

const PARTS = { source: "Sources", transform: "Transforms", sink: "Sinks", whole: "Whole" } as const;

export function Palette({ add, search, disabled, place }: Given) {
  const [words, setWords] = useState("");
  const [wanted, setWanted] = useState(false); // Enter, until what fits the words is known
  const list = useList("palette_get", { limit: 200, ...(words.trim() ? { query: words.trim() } : {}) });
  const found = list.rows.map(moduleOf);
  const groups = words.trim()
    ? [["Best match first", found] as const]
    : Object.entries(PARTS).map(([part, title]) => [title, found.filter((one) => one.part === part)] as const);
  const first = list.isPlaceholderData ? undefined : groups[0]?.[1][0];
  useEffect(() => {
    if (!wanted || !first) return; // what was found before is not what was typed
    setWanted(false);
    add(first);
  }, [wanted, first, add]);
  return (
    <section className="palette" aria-label="Palette">
      <TextInput
        ref={search}
        label="Add a step"
        description={place}
        placeholder="What it shall do"
        value={words}
        onChange={(event) => {
          setWords(event.currentTarget.value);
          setWanted(false);
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter" && !disabled) setWanted(true);
        }}
      />
      <div className="modules" tabIndex={0} role="region" aria-label="Modules">
        {groups.map(
          ([title, modules]) =>
            modules.length > 0 && (
              <div key={title}>
                <div className="quiet">{title}</div>
                {modules.map((one) => (
                  <UnstyledButton
                    key={one.use}
                    className="module"
                    disabled={disabled}
                    draggable={!disabled}
                    title={one.does}
                    onDragStart={(event) => event.dataTransfer.setData(DRAGGED, one.use)}
                    onClick={() => add(one)}
                  >
                    <code>{one.use.replace(/^\w+:/, "").replace(/@.*$/, "")}</code>
                  </UnstyledButton>
                ))}
              </div>
            ),
        )}
        {list.data && !found.length && <p className="quiet">Nothing fits these words.</p>}
      </div>
    </section>
  );
}
