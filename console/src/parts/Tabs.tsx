// The parts of a page, each with an address of its own.

import { Link } from "@tanstack/react-router";
import "./tabs.css";

interface Given {
  label: string;
  /** The word in the address, and the one that is shown. */
  of: readonly (readonly [string, string])[];
  now: string;
  /** The address of a part. */
  at: (tab: string) => { to: string; params?: Record<string, string>; search?: Record<string, unknown> };
}

export function Tabs({ label, of, now, at }: Given) {
  return (
    <nav className="tabs" aria-label={label}>
      {of.map(([tab, text]) => (
        <Link
          key={tab}
          {...(at(tab) as { to: string })}
          {...(tab === now ? { className: "active", "aria-current": "page" as const } : {})}
        >
          {text}
        </Link>
      ))}
    </nav>
  );
}
