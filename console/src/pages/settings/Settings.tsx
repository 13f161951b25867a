// Which sub-page of the settings the address names.

import { useParams } from "@tanstack/react-router";
import type { ComponentType } from "react";
import { Activity } from "./Activity";
import { Audit } from "./Audit";
import { Contexts } from "./Contexts";
import { Kv } from "./Kv";
import { License } from "./License";
import { Metrics } from "./Metrics";
import { Secrets } from "./Secrets";
import type { Tab } from "./Sub";
import { Tokens } from "./Tokens";
import { Variables } from "./Variables";

const PAGES: Record<Tab, ComponentType> = {
  contexts: Contexts,
  variables: Variables,
  secrets: Secrets,
  kv: Kv,
  tokens: Tokens,
  audit: Audit,
  activity: Activity,
  license: License,
  metrics: Metrics,
};

export function Settings() {
  const { tab = "contexts" } = useParams({ strict: false }) as { tab?: Tab };
  const Page = PAGES[tab];
  return Page ? <Page /> : <p>There are no such settings.</p>;
}
