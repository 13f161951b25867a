// What others do to the draft meanwhile: saved, published or thrown away.

import { useRead } from "../api/queries";
import type { Kind } from "../pages/Document";

/** The draft as somebody else saved it. */
export interface Theirs {
  revision: number;
  text: string;
  by: string | null;
}

interface Of {
  kind: string;
  slug: string;
}

/** `busy` while this browser saves: what is new then is its own. */
export function useOthers({ kind, slug }: Of, base: number, busy: boolean) {
  const of = { slug, type: kind as Kind };
  const now = useRead("workflow_get", of, { enabled: slug !== "" });
  const known = slug !== "" && !busy && now.data !== undefined && !now.isFetching;
  const revision = now.data?.draft_revision ?? null;
  const gone = known && now.isFetchedAfterMount && base > 0 && (revision === null || now.error?.code === "not_found");
  const newer = known && !gone && revision !== null && revision > base;
  const draft = useRead("workflow_get", { ...of, version: "draft", detail: "detailed" }, { enabled: newer });
  const one = draft.data;
  const theirs: Theirs | null =
    newer && one && (one.draft_revision ?? 0) > base
      ? { revision: one.draft_revision ?? 0, text: one.text ?? "", by: one.updated_by }
      : null;
  return { gone, theirs, moved: gone || newer };
}
