// The description of the HTTP API with a way to try each call (/api/docs). Calls go as who is signed in to the console,
// by the cookie that no script reads, or with the API key that is put under "Authorize".

import "swagger-ui-dist/swagger-ui.css";
import "./docs.css";
import SwaggerUI, { type System } from "swagger-ui-dist/swagger-ui-es-bundle.js";
import { call, Problem, TENANT } from "../api/client";

const ANSWER_MS = 60_000; // a stream never ends by itself
const LOOK = "mantine-color-scheme-value"; // where the console keeps it

const tenant = document.querySelector<HTMLInputElement>("#tenant");
const who = document.querySelector<HTMLElement>("#who");

function dark(): boolean {
  const system = matchMedia("(prefers-color-scheme: dark)").matches;
  try {
    const chosen = localStorage.getItem(LOOK);
    return chosen === "dark" || (chosen !== "light" && system);
  } catch {
    return system; // storage is closed to this page
  }
}

async function look() {
  if (!who || !tenant) return;
  try {
    const me = await call("whoami", {});
    tenant.value = me.tenant ?? "";
    who.textContent = `Calls go as ${me.username} (${me.role}), or as the key under Authorize.`;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const out = error.code === "unauthenticated";
    who.textContent = out
      ? "Nobody is signed in: sign in to the console, or put an API key under Authorize."
      : error.message;
  }
}

// Paths in the headings of operations are links within buttons there, which keys and readers cannot tell apart.
const Path = ({ text }: { text: string }) => text;

/** The filter stands outside of what readers can go to. */
const withinRegion =
  (Filter: unknown, { React }: System) =>
  (given: unknown) =>
    React.createElement("section", { "aria-label": "Filter" }, React.createElement(Filter, given));

document.documentElement.classList.toggle("dark-mode", dark());
SwaggerUI({
  dom_id: "#api",
  url: "/api/openapi.json",
  deepLinking: true,
  docExpansion: "none",
  filter: true,
  tagsSorter: "alpha",
  plugins: [{ components: { DeepLink: Path }, wrapComponents: { FilterContainer: withinRegion } }],
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: -1,
  validatorUrl: null,
  requestInterceptor: (sent) => {
    const named = tenant?.value.trim();
    if (named && !sent.url.endsWith("/api/openapi.json")) sent.headers[TENANT] = named;
    sent.signal = AbortSignal.timeout(ANSWER_MS);
    return sent;
  },
});
void look();
