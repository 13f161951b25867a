// A few fields and one button in front of a page: for a write that needs little. A refusal leaves what was typed.

import { Button, Modal } from "@mantine/core";
import type { ReactNode } from "react";
import { useAct } from "../api/act";
import { Refusal } from "./Page";

interface Given {
  title: string;
  verb: string;
  ready?: boolean;
  /** Do it, and take the dialog away. */
  submit: () => Promise<unknown>;
  close: () => void;
  children: ReactNode;
}

export function Dialog({ title, verb, ready = true, submit, close, children }: Given) {
  const { act, busy, problem } = useAct();
  return (
    // A click beside it takes nothing away that was typed; Escape and Cancel do.
    <Modal
      opened
      onClose={close}
      title={title}
      closeOnClickOutside={false}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <form
        className="fields"
        autoComplete="off"
        onSubmit={(event) => {
          event.preventDefault();
          void act(submit);
        }}
      >
        {children}
        {problem && <Refusal problem={problem} />}
        <div className="filters">
          <Button type="submit" loading={busy} disabled={!ready}>
            {verb}
          </Button>
          <Button variant="subtle" disabled={busy} onClick={close}>
            Cancel
          </Button>
        </div>
      </form>
    </Modal>
  );
}
