// An OpenID Connect provider for the tests of signing in: whoever asks is signed in as the one that /as names.
// node provider.mjs PACKAGES CERT KEY CALLBACK LOGOUT; prints its address when it listens.

import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { pathToFileURL } from "node:url";

const [packages, cert, key, callback, logout] = process.argv.slice(2);
const { Provider } = await import(pathToFileURL(`${packages}/node_modules/oidc-provider/lib/index.js`));

const now = { sub: "u-ada", name: "Ada", groups: ["ops"], gone: false, aud: null };
const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) });
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const issuer = `https://127.0.0.1:${server.address().port}`;

const resourceIndicators = {
  enabled: true,
  defaultResource: () => undefined,
  useGrantedResource: () => true,
  getResourceServerInfo: (_ctx, resource) => ({
    scope: "sluice:read sluice:run sluice:write",
    audience: resource,
    accessTokenFormat: "jwt",
  }),
};

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "sluice",
      client_secret: "a-secret-of-the-tests-alone-0123456789",
      redirect_uris: [callback],
      grant_types: ["authorization_code", "refresh_token"],
      backchannel_logout_uri: logout,
      backchannel_logout_session_required: true,
    },
    {
      client_id: "host",
      token_endpoint_auth_method: "none",
      application_type: "native",
      redirect_uris: ["http://127.0.0.1:33418/callback"],
    },
  ],
  claims: { openid: ["sub", "groups"], profile: ["name", "preferred_username"], email: ["email"], sid: null },
  conformIdTokenClaims: false,
  cookies: { keys: ["only for tests"] },
  features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true }, resourceIndicators },
  extraTokenClaims: () => ({ groups: now.groups }),
  pkce: { required: () => true },
  findAccount: (_ctx, id) =>
    now.gone
      ? undefined
      : {
          accountId: id,
          claims: () => ({
            sub: id,
            name: now.name,
            preferred_username: now.name.toLowerCase(),
            email: `${now.name.toLowerCase()}@example.org`,
            groups: now.groups,
          }),
        },
  fetch: (url, options) => globalThis.fetch(url, { ...options, dispatcher: undefined }), // the engine is on this machine
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
});
provider.on("server_error", (_ctx, error) => console.error(error));

async function interact(request, response) {
  const details = await provider.interactionDetails(request, response);
  if (details.prompt.name === "login")
    return provider.interactionFinished(request, response, { login: { accountId: now.sub } });
  const grant = new provider.Grant({ accountId: details.session.accountId, clientId: details.params.client_id });
  grant.addOIDCScope(details.params.scope);
  if (details.params.resource) grant.addResourceScope(details.params.resource, details.params.scope);
  return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
}

async function control(request, response) {
  const url = new URL(request.url, issuer);
  if (url.pathname === "/as") Object.assign(now, JSON.parse(url.searchParams.get("now")));
  else {
    const client = await provider.Client.find("sluice");
    await client.backchannelLogout(url.searchParams.get("sub"), url.searchParams.get("sid"));
  }
  response.end("{}");
}

const answer = provider.callback();
server.on("request", (request, response) => {
  const part = request.url.split(/[/?]/)[1];
  const failed = (error) => {
    console.error(error);
    response.statusCode = 500;
    response.end(String(error));
  };
  if (part === "interaction") interact(request, response).catch(failed);
  else if (part === "as" || part === "log-out") control(request, response).catch(failed);
  else answer(request, response);
});
console.log(issuer);
