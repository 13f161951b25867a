// What is asked before a call that takes something away: the engine tells what goes (call_preview), and the call is then
// held to what was shown.

import "./tabs.css";
import { Button, Modal, TextInput } from "@mantine/core";
import { useState } from "react";
import { useAct } from "../api/act";
import { type Args, call, type Name, Problem, type Result } from "../api/client";
import { useRead } from "../api/queries";
import { Read, Refusal } from "./Page";
import { useTenant } from "./session";

interface Given<N extends Name> {
  operation: N;
  args: Args<N>;
  /** Its verb and object, as on the button. */
  verb: string;
  /** What has to be typed first. */
  typed?: string;
  close: () => void;
  done: (result: Result<N>) => void;
}

export function Confirm<N extends Name>({ operation, args, verb, typed = "", close, done }: Given<N>) {
  const tenant = useTenant();
  const preview = useRead("call_preview", { operation, arguments: args as Record<string, unknown> });
  const { act, busy, problem } = useAct();
  const [text, setText] = useState("");
  const go = (pinned: object) =>
    act(async () => done(await call(operation, Object.assign({}, args, pinned), { tenant })));
  return (
    <Modal opened onClose={close} title={verb} closeButtonProps={{ "aria-label": "Close" }}>
      <Read of={preview}>
        {({ loss, refused }) =>
          refused ? (
            <Refusal problem={new Problem({ ...refused, detail: refused.message, status: 0 })} />
          ) : (
            <form
              className="fields"
              onSubmit={(event) => {
                event.preventDefault();
                void go(loss?.pinned ?? {});
              }}
            >
              <p>{loss?.text ?? "Nothing is lost by this."}</p>
              {typed && (
                <TextInput
                  label={`Type ${typed} to go on`}
                  value={text}
                  autoComplete="off"
                  data-autofocus
                  onChange={(event) => setText(event.currentTarget.value)}
                />
              )}
              {problem && <Refusal problem={problem} />}
              <div className="filters">
                <Button type="submit" loading={busy} disabled={text !== typed}>
                  {verb}
                </Button>
                <Button variant="subtle" disabled={busy} onClick={close}>
                  Keep it
                </Button>
              </div>
            </form>
          )
        }
      </Read>
    </Modal>
  );
}
