// Filters of lists: they stand in the address, so that a link shows the same to whoever opens it.

import { Select, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";

const AFTER_TYPING_MS = 300;

/** What the address of this page asks for, and a way to ask for more or (with undefined) for less. */
export function useFilters<W extends object>(): [W, (more: { [K in keyof W]?: W[K] | undefined }) => void] {
  const wanted = useSearch({ strict: false }) as W;
  const navigate = useNavigate();
  const say = (more: object) =>
    void navigate({ to: ".", search: ((now: object) => ({ ...now, ...more })) as never, replace: true });
  return [wanted, say];
}

/** Those that are asked for, as arguments of an operation. */
export const given = <W extends object>(wanted: W): W =>
  Object.fromEntries(Object.entries(wanted).filter(([, value]) => value)) as W;

interface Text {
  label: string;
  value: string | undefined;
  set: (value: string | undefined) => void;
}

/** A text that counts when one stops typing, or with Enter. Leaving the field does nothing: rows that move between the
 * press and the release of a button would lose the click of whoever leaves it for one of them. */
export function TextFilter({ label, value, set }: Text) {
  const [typed, setTyped] = useState(value ?? "");
  const said = useRef(value);
  const say = useDebouncedCallback((text: string) => {
    said.current = text || undefined;
    set(said.current);
  }, AFTER_TYPING_MS);
  useEffect(() => {
    if (value === said.current) return; // what was typed here; more may have been typed since
    say.cancel(); // the address says something else by now, as after a step back
    said.current = value;
    setTyped(value ?? "");
  }, [value, say]);
  return (
    <TextInput
      aria-label={label}
      placeholder={label}
      value={typed}
      w={180}
      onChange={(event) => {
        setTyped(event.currentTarget.value);
        say(event.currentTarget.value);
      }}
      onKeyDown={(event) => event.key === "Enter" && say.flush()}
    />
  );
}

interface Choice<V extends string> {
  label: string;
  any: string;
  of: readonly V[];
  value: V | undefined;
  set: (value: V | undefined) => void;
}

/** One of a few, or any. */
export function ChoiceFilter<V extends string>({ label, any, of, value, set }: Choice<V>) {
  return (
    <Select
      aria-label={label}
      placeholder={any}
      data={[...of]}
      value={value ?? null}
      clearable
      w={140}
      onChange={(chosen) => set((chosen as V | null) ?? undefined)}
    />
  );
}
