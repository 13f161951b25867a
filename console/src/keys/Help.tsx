// Which keys there are, and turning single letters off.

import { Checkbox, Modal } from "@mantine/core";
import { useKept } from "../parts/kept";
import { GO } from "./keys";

export default function Help({ close }: { close: () => void }) {
  const [off, setOff] = useKept("keys");
  const keys: [string, string][] = [
    ["Ctrl+K", "Things, pages and actions"],
    ["/", "Filter this page"],
    ["?", "These keys"],
    ...Object.entries(GO).map(([key, [, page]]) => [`g ${key}`, page] as [string, string]),
  ];
  return (
    <Modal opened onClose={close} title="Keys" closeButtonProps={{ "aria-label": "Close" }}>
      <dl className="keys">
        {keys.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <Checkbox
        label="Single letters count (Ctrl+K always does)"
        description="Never while you type. This browser keeps it."
        checked={off !== "off"}
        onChange={(event) => setOff(event.currentTarget.checked ? "" : "off")}
      />
    </Modal>
  );
}
