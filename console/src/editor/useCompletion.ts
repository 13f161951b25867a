// Completion by the schema of a kind of documents, which comes when it comes.

import type { Extension } from "@codemirror/state";
import { useMemo, useRef } from "react";
import { useRead } from "../api/queries";
import { completing, type Schema } from "./completing";

export function useCompletion(kind: string): Extension {
  const schema = useRead("schema_get", { kind });
  const known = useRef<Schema | undefined>(undefined);
  known.current = schema.data as Schema | undefined;
  return useMemo(() => completing(() => known.current), []);
}
