// Somebody else saved: their text and yours, side by side, and what to go on with.

import { Button, Modal } from "@mantine/core";
import { lazy, Suspense, useState } from "react";
import { Loading } from "../parts/Page";
import type { Theirs } from "./others";

const Differences = lazy(() => import("./Differences"));

interface Given {
  theirs: Theirs;
  mine: string;
  /** Go on with this text, on top of their revision. */
  take: (text: string) => void;
  close: () => void;
}

export function Conflict({ theirs, mine, take, close }: Given) {
  const [sides] = useState({ theirs, mine }); // as they were when this was opened
  const [merged, setMerged] = useState(mine);
  const number = sides.theirs.revision;
  return (
    <Modal
      opened
      onClose={close}
      size="90%"
      title={`Revision ${number} of ${sides.theirs.by ?? "somebody"}, and yours`}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <p className="quiet">
        Your text is on the right and can be edited; an arrow takes a part from the left. Nothing is saved yet.
      </p>
      <Suspense fallback={<Loading />}>
        <Differences
          before={{ name: `Revision ${number}`, text: sides.theirs.text }}
          after={{ name: "Your text", text: sides.mine }}
          change={setMerged}
        />
      </Suspense>
      <div className="filters" style={{ marginTop: 12 }}>
        <Button onClick={() => take(merged)}>Go on with the text on the right</Button>
        <Button variant="subtle" onClick={() => take(sides.theirs.text)}>
          Take revision {number} instead of mine
        </Button>
      </div>
    </Modal>
  );
}
