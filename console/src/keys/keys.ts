// Which keys lead where. Pure.

/** After `g`. */
export const GO: Record<string, [string, string]> = {
  o: ["/", "Overview"],
  d: ["/deployments", "Deployments"],
  p: ["/plans", "Plans"],
  t: ["/triggers", "Triggers"],
  r: ["/invocations", "Runs"],
  c: ["/catalog", "Catalog"],
  f: ["/workflows", "Workflows"],
  j: ["/jobs", "Jobs"],
  w: ["/workloads", "Workloads"],
  k: ["/workers", "Workers"],
  s: ["/schedules", "Schedules"],
  l: ["/logs", "Logs"],
  m: ["/messages", "Messages"],
  i: ["/issues", "Issues"],
  ",": ["/settings", "Settings"],
};

export type Meant = { do: "palette" | "search" | "help" | "wait" } | { do: "go"; to: string };

interface Pressed {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
}

/** What a key means, after the one before it (`g` within a second). `single`: single letters count here. */
export function meant(now: Pressed, before: string, single: boolean): Meant | null {
  if ((now.ctrlKey || now.metaKey) && !now.altKey && now.key.toLowerCase() === "k") return { do: "palette" };
  if (!single || now.ctrlKey || now.metaKey || now.altKey) return null;
  if (before === "g" && GO[now.key]) return { do: "go", to: (GO[now.key] as [string, string])[0] };
  if (now.key === "g") return { do: "wait" };
  if (now.key === "/") return { do: "search" };
  if (now.key === "?") return { do: "help" };
  return null;
}

/** Whether somebody is typing here, so that letters are letters. */
export const typing = (at: Element | null): boolean =>
  at !== null && (/^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName) || (at as HTMLElement).isContentEditable === true);

/** How well a text fits what is looked for: every word has to be in it; where it begins so, it comes first. */
export function fits(text: string, wanted: string): number {
  const low = text.toLowerCase();
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.every((word) => low.includes(word))) return 0;
  return words[0] && low.startsWith(words[0]) ? 2 : 1;
}
