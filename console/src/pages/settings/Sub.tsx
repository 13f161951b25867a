// The frame of each sub-page of the settings: where else one can go, and what can be done here.

import { useParams } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { Head } from "../../parts/Page";
import { Tabs } from "../../parts/Tabs";

export const TABS = [
  ["contexts", "Contexts"],
  ["variables", "Variables"],
  ["secrets", "Secrets"],
  ["kv", "KV"],
  ["tokens", "Tokens"],
  ["audit", "Audit"],
  ["activity", "MCP activity"],
  ["license", "License"],
  ["metrics", "Metrics"],
] as const;

export type Tab = (typeof TABS)[number][0];

interface Given {
  /** What these are, in a sentence. */
  about: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
}

export function Sub({ about, actions, children }: Given) {
  const { tab: present = "contexts" } = useParams({ strict: false }) as { tab?: Tab };
  return (
    <>
      <Head title="Settings" actions={actions} />
      <Tabs label="Settings" of={TABS} now={present} at={(tab) => ({ to: "/settings/$tab", params: { tab } })} />
      <p className="quiet">{about}</p>
      {children}
    </>
  );
}
