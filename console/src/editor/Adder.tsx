// A name and a button that adds a thing of it.

import { Button, TextInput } from "@mantine/core";
import { useState } from "react";

interface Given {
  /** What is added: "output". */
  what: string;
  /** What the name is of it: "Name". */
  part?: string;
  may?: (name: string) => boolean;
  add: (name: string) => void;
}

export function Adder({ what, part = "Name", may = () => true, add }: Given) {
  const [name, setName] = useState("");
  return (
    <div className="filters">
      <TextInput
        aria-label={`${part} of a new ${what}`}
        placeholder={part === "Name" ? `new ${what}` : part.toLowerCase()}
        value={name}
        w={140}
        onChange={(event) => setName(event.currentTarget.value)}
      />
      <Button
        variant="light"
        disabled={!name || !may(name)}
        onClick={() => {
          add(name);
          setName("");
        }}
      >
        Add {what}
      </Button>
    </div>
  );
}
