// Lists and calls the tools of a server through the TypeScript clients and prints what it saw as one line of JSON.
// usage: clients.cjs PACKAGES CLIENT ERA TARGET, with CLIENT sdk or client, ERA legacy, auto or 2026-07-28,
// TARGET a URL or a JSON array with a command.
const { createRequire } = require("node:module");

const [packages, client, era, target] = process.argv.slice(2);
const load = createRequire(packages + "/package.json");
const url = target.startsWith("http") ? new URL(target) : null;
const [command, ...args] = url ? [] : JSON.parse(target);

function connectable() {
  const info = { name: "sluice-conformance", version: "1" };
  if (client === "sdk") {
    const { Client } = load("@modelcontextprotocol/sdk/client/index.js");
    const { StdioClientTransport } = load("@modelcontextprotocol/sdk/client/stdio.js");
    const { StreamableHTTPClientTransport } = load("@modelcontextprotocol/sdk/client/streamableHttp.js");
    return [new Client(info), url ? new StreamableHTTPClientTransport(url) : new StdioClientTransport({ command, args, stderr: "ignore" })];
  }
  const { Client, StreamableHTTPClientTransport } = load("@modelcontextprotocol/client");
  const { StdioClientTransport } = load("@modelcontextprotocol/client/stdio");
  const mode = era === "legacy" || era === "auto" ? era : { pin: era };
  return [
    new Client(info, { versionNegotiation: { mode } }),
    url ? new StreamableHTTPClientTransport(url) : new StdioClientTransport({ command, args, stderr: "ignore" }),
  ];
}

async function main() {
  const [connected, transport] = connectable();
  await connected.connect(transport);
  const seen = { listChanged: connected.getServerCapabilities().tools.listChanged };
  seen.tools = (await connected.listTools()).tools.map((tool) => tool.name);
  const call = async (name, given) => {
    const result = await connected.callTool({ name, arguments: given });
    return { isError: Boolean(result.isError), structured: result.structuredContent };
  };
  seen.ran = await call("trigger_invoke_smoke", { value: "a" });
  seen.wrong = await call("trigger_invoke_smoke", { value: 1 });
  // Both have an outputSchema, which these clients check; one of them also checks it when the result is an error.
  seen.listed = await call("trigger_list", {});
  seen.missing = await call("trigger_invocation_get", { invocation_id: "inv_nope" });
  try {
    await connected.callTool({ name: "nope", arguments: {} });
    seen.unknown = null;
  } catch (error) {
    seen.unknown = error.code;
  }
  seen.resource = (await connected.readResource({ uri: `invocation://${seen.ran.structured.invocation_id}` })).contents[0].mimeType;
  await connected.close();
  console.log(JSON.stringify(seen));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
