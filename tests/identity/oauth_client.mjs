// A host of the TypeScript SDK: asks to be let in, and works with what it got.
// node oauth_client.mjs PACKAGES URL CLIENT_ID; prints the address to open, reads the query it came back with, prints
// what it saw.

import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const [packages, url, client_id] = process.argv.slice(2);
const load = createRequire(`${packages}/package.json`);
const { Client, StreamableHTTPClientTransport, UnauthorizedError } = load("@modelcontextprotocol/client");

const kept = {};
const authProvider = {
  redirectUrl: "http://127.0.0.1:33418/callback",
  clientMetadata: { client_name: "A host", redirect_uris: ["http://127.0.0.1:33418/callback"] },
  clientInformation: () => ({ client_id }),
  tokens: () => kept.tokens,
  saveTokens: (tokens) => (kept.tokens = tokens),
  redirectToAuthorization: (where) => console.log(String(where)),
  saveCodeVerifier: (verifier) => (kept.verifier = verifier),
  codeVerifier: () => kept.verifier,
};
const connect = async () => {
  const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider });
  const client = new Client({ name: "a-host", version: "1" });
  try {
    await client.connect(transport);
    return client;
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    const [line] = await createInterface({ input: process.stdin })[Symbol.asyncIterator]()
      .next()
      .then((read) => [read.value]);
    await transport.finishAuth(new URLSearchParams(line));
    return connect();
  }
};
const client = await connect();
const { tools } = await client.listTools();
console.log(JSON.stringify({ scope: kept.tokens.scope, tools: tools.map((tool) => tool.name) }));
await client.close();
process.exit(0);
