// Filters of lists: they stand in the address, so that a link shows the same to whoever opens it.

import { Select, TextInput } from "@mantine/core";
import { useNavigate, useSearch } from "@tanstack/react-router";

/** What the address of this page asks for, and a way to ask for more or (with undefined) for less. */
export function useFilters<W extends object>(): [W, (more: { [K in keyof W]?: W[K] | undefined }) => void] {
  const wanted = useSearch({ strict: false }) as W;
  const navigate = useNavigate();
  return [wanted, (more) => void navigate({ to: ".", search: { ...wanted, ...more } as never, replace: true })];
}

/** Those that are asked for, as arguments of an operation. */
export const given = <W extends object>(wanted: W): W =>
  Object.fromEntries(Object.entries(wanted).filter(([, value]) => value)) as W;

interface Text {
  label: string;
  value: string | undefined;
  set: (value: string | undefined) => void;
}

/** A text that counts when it is done: with Enter, or when another field is gone to. */
export function TextFilter({ label, value, set }: Text) {
  return (
    <TextInput
      key={value}
      aria-label={label}
      placeholder={label}
      defaultValue={value ?? ""}
      w={180}
      onBlur={(event) => {
        const typed = event.currentTarget.value || undefined;
        if (typed !== value) set(typed);
      }}
      onKeyDown={(event) => event.key === "Enter" && event.currentTarget.blur()}
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
