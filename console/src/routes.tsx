// Every page and its address. What is looked at stands in the address, so a link shows the same to whoever opens it.

import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from "@tanstack/react-router";
import { Frame } from "./pages/Frame";
import { Overview } from "./pages/Overview";
import { tenantOf } from "./pages/SignIn";

const root = createRootRoute({ component: Frame, notFoundComponent: () => <p>There is no such page.</p> });
const page = <P extends string>(path: P, component: () => React.ReactNode) =>
  createRoute({ getParentRoute: () => root, path, component });

// What is not the first page is loaded when it is gone to.
const later = <M extends Record<string, unknown>>(load: () => Promise<M>, name: keyof M & string) =>
  lazyRouteComponent(load as never, name) as unknown as () => React.ReactNode;
const editing = () => import("./pages/Edit");

const tree = root.addChildren([
  page("/", Overview),
  page(
    "/device",
    later(() => import("./pages/Device"), "Device"),
  ),
  page(
    "/deployments",
    later(() => import("./pages/Deployments"), "Deployments"),
  ),
  page(
    "/deployments/$name",
    later(() => import("./pages/Deployment"), "Deployment"),
  ),
  page(
    "/plans",
    later(() => import("./pages/Plans"), "Plans"),
  ),
  page(
    "/plans/$id",
    later(() => import("./pages/Plan"), "Plan"),
  ),
  page(
    "/triggers",
    later(() => import("./pages/Triggers"), "Triggers"),
  ),
  page(
    "/new-trigger",
    later(() => import("./pages/TriggerEdit"), "NewTrigger"),
  ),
  page(
    "/triggers/$slug/revise",
    later(() => import("./pages/TriggerEdit"), "ReviseTrigger"),
  ),
  page(
    "/triggers/$slug",
    later(() => import("./pages/Trigger"), "Trigger"),
  ),
  page(
    "/invocations",
    later(() => import("./pages/Invocations"), "Invocations"),
  ),
  page(
    "/invocations/$id",
    later(() => import("./pages/Invocation"), "Invocation"),
  ),
  page(
    "/catalog",
    later(() => import("./pages/Catalog"), "Catalog"),
  ),
  page(
    "/catalog/$kind/$slug",
    later(() => import("./pages/Item"), "Item"),
  ),
  page(
    "/catalog/$kind/$slug/deploy",
    later(() => import("./pages/Deploy"), "Deploy"),
  ),
  page(
    "/workflows",
    later(() => import("./pages/Workflows"), "Workflows"),
  ),
  page("/workflows/new", later(editing, "NewDocument")),
  page(
    "/workflows/$kind/$slug",
    later(() => import("./pages/Document"), "Document"),
  ),
  page("/workflows/$kind/$slug/edit", later(editing, "Edit")),
  page(
    "/workflows/$kind/$slug/compare",
    later(() => import("./pages/Compare"), "Compare"),
  ),
  page(
    "/workloads",
    later(() => import("./pages/Workloads"), "Workloads"),
  ),
  page(
    "/workers",
    later(() => import("./pages/Workers"), "Workers"),
  ),
  page(
    "/workers/$name",
    later(() => import("./pages/Worker"), "Worker"),
  ),
  page(
    "/logs",
    later(() => import("./pages/Logs"), "Logs"),
  ),
  page(
    "/messages",
    later(() => import("./pages/Messages"), "Messages"),
  ),
  page(
    "/issues",
    later(() => import("./pages/Issues"), "Issues"),
  ),
  page(
    "/schedules",
    later(() => import("./pages/Schedules"), "Schedules"),
  ),
  page(
    "/schedules/$name",
    later(() => import("./pages/Schedule"), "Schedule"),
  ),
  page(
    "/jobs",
    later(() => import("./pages/jobs/Jobs"), "Jobs"),
  ),
  page(
    "/jobs/-new", // no job has such a name
    later(() => import("./pages/jobs/NewJob"), "NewJob"),
  ),
  page(
    "/jobs/$name",
    later(() => import("./pages/jobs/Job"), "Job"),
  ),
  page(
    "/settings",
    later(() => import("./pages/settings/Settings"), "Settings"),
  ),
  page(
    "/settings/$tab",
    later(() => import("./pages/settings/Settings"), "Settings"),
  ),
]);

const tenant = tenantOf(location.pathname);
export const router = createRouter({
  routeTree: tree,
  basepath: tenant ? `/console/t/${encodeURIComponent(tenant)}` : "/console",
  defaultPreload: false,
});
