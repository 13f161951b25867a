// The small buttons of a row, a list or a field.

import { Button } from "@mantine/core";
import type { ReactNode } from "react";

interface Given {
  /** What it does, to what: the text that a screen reader says. */
  label: string;
  disabled?: boolean;
  onClick: () => void;
  children: ReactNode;
}

export function Small({ label, disabled = false, onClick, children }: Given) {
  return (
    <Button variant="subtle" size="compact-xs" aria-label={label} disabled={disabled} onClick={onClick}>
      {children}
    </Button>
  );
}
