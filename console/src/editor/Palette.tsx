// What a workflow can be built of: found by words, put in by a click, Enter or a drag.

import { TextInput, UnstyledButton } from "@mantine/core";
import { type RefObject, useState } from "react";
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
  const list = useList("palette_get", { limit: 200, ...(words.trim() ? { query: words.trim() } : {}) });
  const found = list.rows.map(moduleOf);
  const groups = words.trim()
    ? [["Best match first", found] as const]
    : Object.entries(PARTS).map(([part, title]) => [title, found.filter((one) => one.part === part)] as const);
  return (
    <section className="palette" aria-label="Palette">
      <TextInput
        ref={search}
        label="Add a step"
        description={place}
        placeholder="What it shall do"
        value={words}
        onChange={(event) => setWords(event.currentTarget.value)}
        onKeyDown={(event) => {
          const first = groups[0]?.[1][0];
          if (event.key === "Enter" && first && !disabled) add(first);
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
