import { appendFileSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig, type UserConfig } from "vite";

// The server gives the files below /console/; in development Vite serves them and hands on what is the API's. The
// server looks at Host and Origin, so these stay as the browser sent them.
const SERVER = process.env.SLUICE_URL ?? "http://127.0.0.1:3000";
const STATIC = "../mcp_server/console/static";
const LICENSES = "third-party.md";
// The pages of MCP Apps, each built by itself (`vite build --mode plan`): a script and a style that
// mcp_server/apps puts into one document.
const APPS: Record<string, string> = { plan: "src/apps/plan.ts", trigger: "src/apps/trigger.tsx" };

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));

// The index of rjsf imports a validator for its tests that would bring AJV.
const alias = { "@rjsf/validator-ajv8": path("src/parts/none.ts") };

// Swagger UI comes with the packages that it is made of, so the build does not see their licenses.
const licensesWithin = {
  name: "licenses-within",
  closeBundle() {
    const told = ["LICENSE", "NOTICE", "swagger-ui-es-bundle.js.LICENSE.txt"].map((name) =>
      readFileSync(path(`node_modules/swagger-ui-dist/${name}`), "utf8").trim(),
    );
    appendFileSync(`${path(STATIC)}/${LICENSES}`, `\n## Within swagger-ui-dist\n\n${told.join("\n\n")}\n`);
  },
};

const pages: UserConfig = {
  base: "/console/",
  plugins: [react()],
  resolve: { alias },
  build: {
    outDir: STATIC,
    emptyOutDir: true,
    license: { fileName: LICENSES },
    // What the first page needs is one file: a browser asks for six at a time, and had to ask for twenty.
    rollupOptions: { output: { codeSplitting: { groups: [{ name: "first", tags: ["$initial"] }] } } },
  },
  server: { proxy: { "/api": { target: SERVER, changeOrigin: false } } },
};

// The viewer of the API (`vite build --mode api`), by itself: it shares next to nothing with the console.
const viewer: UserConfig = {
  base: "/console/",
  plugins: [licensesWithin],
  build: {
    outDir: STATIC,
    emptyOutDir: false,
    chunkSizeWarningLimit: 1800, // Swagger UI comes as one file
    rollupOptions: { input: path("api.html") },
  },
};

const app = (name: string, entry: string): UserConfig => ({
  plugins: [react()],
  resolve: { alias: { ...alias, "@mantine/core": path("src/apps/fields.tsx") } },
  define: { "process.env.NODE_ENV": '"production"' },
  publicDir: false,
  build: {
    outDir: `${STATIC}/apps`,
    emptyOutDir: false,
    lib: { entry: path(entry), formats: ["iife"], name: "app", fileName: () => `${name}.js`, cssFileName: name },
  },
});

export default defineConfig(({ mode }) => {
  const entry = APPS[mode];
  if (entry) return app(mode, entry);
  return mode === "api" ? viewer : pages;
});
