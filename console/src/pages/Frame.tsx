// What stays around every page: where one can go, in which tenant, who is signed in, and whether it is live.

import { Button, Select, TextInput } from "@mantine/core";
import { Link, Outlet, useRouterState } from "@tanstack/react-router";
import { Keys, useOpen } from "../keys/Keys";
import { useAnnounced } from "../live/announcing";
import { useKept } from "../parts/kept";
import { State } from "../parts/State";
import { useSession } from "../parts/session";
import { tellIn } from "../words/times";
import { placeOf } from "./SignIn";
import { Who } from "./Who";

export const GROUPS: [string, [string, string][]][] = [
  [
    "",
    [
      ["/", "Overview"],
      ["/deployments", "Deployments"],
      ["/plans", "Plans"],
      ["/triggers", "Triggers"],
      ["/invocations", "Runs"],
    ],
  ],
  [
    "Build",
    [
      ["/catalog", "Catalog"],
      ["/workflows", "Workflows"],
      ["/jobs", "Jobs"],
    ],
  ],
  [
    "Operate",
    [
      ["/workloads", "Workloads"],
      ["/workers", "Workers"],
      ["/schedules", "Schedules"],
      ["/logs", "Logs"],
      ["/messages", "Messages"],
      ["/issues", "Issues"],
      ["/settings", "Settings"],
    ],
  ],
];

const LIVE = {
  live: "live",
  connecting: "connecting",
  stale: "stale: trying again",
  out: "signed out",
};

export function Frame() {
  const { identity, tenant, liveness } = useSession();
  const [open, setOpen] = useOpen();
  const [times] = useKept("times");
  // The form that changes a deployment has the address of what it is made of.
  const changing = useRouterState({
    select: ({ location }) => location.pathname.endsWith("/deploy") && "name" in location.search,
  });
  tellIn(times === "utc" ? "UTC" : undefined); // before the page, which is drawn anew when it changes
  const tenants = identity.tenants.filter((one) => one !== "*");
  return (
    <div className="frame">
      <a className="skip" href="#room">
        Skip to the page
      </a>
      <header className="top">
        <Link to="/" className="brand">
          <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
            <path d="M2 4h12M2 8h7M2 12h12" stroke="currentColor" strokeWidth="2" />
          </svg>
          Sluice
        </Link>
        {identity.tenants.includes("*") ? (
          <TextInput
            aria-label="Tenant"
            title="Which tenant is looked at; Enter goes there"
            defaultValue={tenant}
            className="tenant"
            onKeyDown={(event) =>
              event.key === "Enter" && event.currentTarget.value && location.assign(placeOf(event.currentTarget.value))
            }
          />
        ) : tenants.length > 1 ? (
          <Select
            aria-label="Tenant"
            data={tenants}
            value={tenant}
            allowDeselect={false}
            className="tenant"
            onChange={(wanted) => wanted && location.assign(placeOf(wanted))}
          />
        ) : (
          <span className="quiet mono">{tenant}</span>
        )}
        <div className="rest">
          <Button
            variant="subtle"
            className="search"
            aria-label="Search"
            title="Ctrl+K"
            onClick={() => setOpen("palette")}
          >
            Search <kbd>Ctrl+K</kbd>
          </Button>
          <span role="status">
            <State word={liveness === "live" ? "live" : "stale"} title={LIVE[liveness]} />
          </span>
          <Who />
        </div>
      </header>
      <nav className="rail" aria-label="Pages">
        {GROUPS.map(([group, links]) => (
          <div key={group} style={{ display: "contents" }}>
            {group && <div className="group">{group}</div>}
            {links.map(([to, text]) => (
              <Link
                key={to}
                to={to}
                activeProps={{ className: "active" }}
                activeOptions={{ exact: to === "/" || (changing && to === "/catalog") }}
                {...(changing && to === "/deployments" ? { className: "active", "aria-current": "page" as const } : {})}
              >
                {text}
              </Link>
            ))}
          </div>
        ))}
      </nav>
      <main className="room" id="room" tabIndex={-1} key={times}>
        <Outlet />
      </main>
      <Keys open={open} setOpen={setOpen} />
      <div className="spoken" aria-live="polite">
        {useAnnounced()}
      </div>
    </div>
  );
}
