import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The server gives the files below /console/; in development Vite serves them and hands on what is the API's. The
// server looks at Host and Origin, so these stay as the browser sent them.
const SERVER = process.env.SLUICE_URL ?? "http://127.0.0.1:3000";

export default defineConfig({
  base: "/console/",
  plugins: [react()],
  // The index of rjsf imports a validator for its tests that would bring AJV.
  resolve: { alias: { "@rjsf/validator-ajv8": fileURLToPath(new URL("src/parts/none.ts", import.meta.url)) } },
  build: {
    outDir: "../mcp_server/console/static",
    emptyOutDir: true,
    license: { fileName: "third-party.md" },
    chunkSizeWarningLimit: 700,
  },
  server: { proxy: { "/api": { target: SERVER, changeOrigin: false } } },
});
