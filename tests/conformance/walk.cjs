// Walks through a trigger with a TypeScript client: list the tools, publish, run, read the status. Prints one line of JSON.
// usage: walk.cjs PACKAGES CLIENT URL TOKEN DEFINITION, with CLIENT sdk or client, DEFINITION the trigger as JSON.
const { createRequire } = require("node:module");

const [packages, client, url, token, definition] = process.argv.slice(2);
const load = createRequire(packages + "/package.json");
const { Client, StreamableHTTPClientTransport } =
  client === "sdk"
    ? {
        ...load("@modelcontextprotocol/sdk/client/index.js"),
        ...load("@modelcontextprotocol/sdk/client/streamableHttp.js"),
      }
    : load("@modelcontextprotocol/client");

async function main() {
  const connected = new Client({ name: "sluice-walk", version: "1" });
  const headers = { Authorization: `Bearer ${token}` };
  await connected.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
  const names = async () => (await connected.listTools()).tools.map((tool) => tool.name);
  const call = async (name, given) => {
    const result = await connected.callTool({ name, arguments: given });
    if (result.isError) throw new Error(JSON.stringify(result.structuredContent));
    return result.structuredContent;
  };
  const before = await names();
  const published = await call("trigger_publish", JSON.parse(definition));
  const after = await names();
  const ran = await call(published.tool_name, { env: "staging" });
  const status = await call("trigger_invocation_get", { invocation_id: ran.invocation_id });
  await connected.close();
  console.log(JSON.stringify({ before, published, after, ran, status }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
