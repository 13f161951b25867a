"""The authorization of MCP hosts: what this server says of itself, the page that asks the user, and the tokens.

Metadata: RFC 9728 (the resource, /mcp) and RFC 8414 (the authorization server, which is this one). What may be asked,
and what a token is, is the engine's (core/identity/mcp_grants.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from html import escape
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from core import clock, errors
from core.model import principal
from core.model.operation import Registry
from mcp_server import session, stepping_up
from mcp_server.http import admission, auth, cookies, pages, problems, routes

ASK, APPROVE, TOKENS, END = "mcp_grant_get", "mcp_grant_approve", "mcp_token_issue", "mcp_token_end"
METHODS = "login_methods"
SCOPES = ("sluice:read", "sluice:run", "sluice:write")
RESOURCE_METADATA = admission.RESOURCES
_TRANSACTION_SECONDS = 600
_NONCE_BYTES = 12
_MOST_QUERY = 8192
_FORM = "application/x-www-form-urlencoded"
_OPEN = {**problems.SAFE_HEADERS, "access-control-allow-origin": "*"}


def challenge(public_url: str, *, writes: bool) -> str:
    """The WWW-Authenticate of a 401 of /mcp: where its metadata are, and what to ask for (RFC 9728, 5.1)."""
    scopes = " ".join(SCOPES if writes else SCOPES[:1])
    return f'Bearer realm="sluice", resource_metadata="{public_url}{RESOURCE_METADATA}/mcp", scope="{scopes}"'


def needed(operations: Registry, public_url: str) -> stepping_up.Needed:
    """The WWW-Authenticate of a 403 for a call beyond the scopes of its token: all scopes that are needed, at once."""
    where = f'resource_metadata="{public_url}{RESOURCE_METADATA}/mcp"'

    def insufficient(caller: principal.Caller, body: bytes) -> str:
        lacking = stepping_up.needed(operations, caller, body)
        if not lacking:
            return ""
        scopes = " ".join(SCOPES[: SCOPES.index(lacking) + 1])
        return f'Bearer error="insufficient_scope", scope="{scopes}", {where}'

    return insufficient


def router(
    engine: session.EngineSession, authenticator: auth.Authenticator, public_url: str, outside: str = ""
) -> APIRouter:
    """The routes; none where the server has no address that others call it by. `outside` is another authorization
    server: then this one is none, and says so."""
    out = APIRouter(route_class=routes.PlainRoute)
    if not public_url or not {ASK, APPROVE, TOKENS, END, METHODS} <= {op.name for op in engine.operations}:
        return out
    sealed = AESGCM(secrets.token_bytes(32))  # of pages that ask; they end with this server

    async def resource(request: Request) -> Response:
        return _metadata(
            {
                "resource": f"{public_url}/mcp",
                "authorization_servers": [outside or public_url],
                "scopes_supported": list(SCOPES),
                "bearer_methods_supported": ["header"],
                "resource_name": "Sluice",
                "resource_documentation": f"{public_url}/docs/remote-hosts",
            }
        )

    async def server(request: Request) -> Response:
        return _metadata(
            {
                "issuer": public_url,
                "authorization_endpoint": public_url + admission.AUTHORIZE,
                "token_endpoint": public_url + admission.TOKEN,
                "revocation_endpoint": public_url + admission.REVOKE,
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none"],
                "revocation_endpoint_auth_methods_supported": ["none"],
                "scopes_supported": list(SCOPES),
                "client_id_metadata_document_supported": True,
                "authorization_response_iss_parameter_supported": True,
                "service_documentation": f"{public_url}/docs/remote-hosts",
            }
        )

    async def authorize(request: Request) -> Response:
        """Ask the user, who signs in before when he is not yet."""
        query: dict[str, str] = {}
        try:
            query = _once(request.url.query)
            asked = await engine.call(ASK, {"query": query}, principal.SYSTEM)
            who = await _signed_in(request, checked=False)
            methods = await engine.call(METHODS, {}, principal.SYSTEM)
        except errors.SluiceError as error:
            return _refused(query, error)
        if who is None:
            if methods["provider"]:
                place = f"{admission.AUTHORIZE}?{request.url.query}"
                return RedirectResponse(f"{admission.LOGIN}?to={quote(place, safe='')}", 302, problems.SAFE_HEADERS)
            link = '<a href="/console/" target="_blank" rel="noopener">to the console</a>'
            body = f"<p>Sign in first: {link}. Then load this page again.</p>"
            return pages.page("Who are you?", body, 401)
        ends = clock.now_ns() // clock.NANOSECONDS + _TRANSACTION_SECONDS
        once = secrets.token_bytes(_NONCE_BYTES)
        kept = once + sealed.encrypt(once, orjson.dumps([query, who.credential, ends]), None)
        return _page(asked, who, kept.hex(), query["redirect_uri"])

    async def decide(request: Request) -> Response:
        """What the user decided: counted only from our own page, in the browser in which it was asked."""
        query: dict[str, str] = {}
        try:
            who = await _signed_in(request, checked=True)
            given = _once((await request.body()).decode("latin-1"))
            query, credential, ends = _opened(given.get("transaction", ""))
            if who is None or who.credential != credential or ends <= clock.now_ns() // clock.NANOSECONDS:
                query = {}
                raise errors.Forbidden("This page is over, or of another sign-in.", hint="Connect again in the host.")
            if given.get("decision") != "allow":
                return _back(query, {"error": "access_denied"})
            # What is let in acts in all tenants of the user, or in the chosen one; this call acts in one of them.
            own = _tenants(who)
            chosen = given.get("tenant", "") if len(own) > 1 else ""
            caller = auth.caller(who, own[0] if own else None, client=routes.host(request), member=False)
            made = await engine.call(APPROVE, {"query": query, "tenant": chosen}, caller)
        except errors.SluiceError as error:
            return _refused(query, error)
        return _back(query, {"code": str(made["code"])})

    def _opened(text: str) -> tuple[dict[str, str], str, int]:
        try:
            raw = bytes.fromhex(text)
            query, credential, ends = orjson.loads(sealed.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None))
        except (ValueError, InvalidTag):
            raise errors.Forbidden("This page is over.", hint="Connect again in the host.") from None
        return query, credential, ends

    async def _signed_in(request: Request, *, checked: bool) -> principal.Principal | None:
        """Who is signed in in this browser. `checked`: and the request comes from our own page; raises Forbidden."""
        held = request.cookies.get(cookies.name_of(request.scope))
        if not held:
            return None
        shown = cookies.bearer(request.scope, request.scope["headers"]) if checked else f"Bearer {held}"
        try:
            return await authenticator.principal(shown, routes.host(request))
        except errors.Unauthenticated:
            return None

    def _back(query: Mapping[str, str], answer: dict[str, str]) -> Response:
        """Send the browser to the host, with who says so (RFC 9207)."""
        said = {**answer, **({"state": query["state"]} if "state" in query else {}), "iss": public_url}
        where = query["redirect_uri"]
        return RedirectResponse(
            where + ("&" if urlsplit(where).query else "?") + urlencode(said), 303, problems.SAFE_HEADERS
        )

    def _refused(query: Mapping[str, str], error: errors.SluiceError) -> Response:
        """Tell the host what it asked wrongly; the user, where no answer may be sent to it."""
        if (code := error.details.get("error")) and query.get("redirect_uri"):
            return _back(query, {"error": str(code), "error_description": error.message[:200]})
        return pages.fault(error, "This host cannot be let in")

    async def token(request: Request) -> Response:
        try:
            made = await engine.call(TOKENS, {"form": await _form(request)}, principal.SYSTEM)
        except errors.SluiceError as error:
            return _token_fault(error)
        return Response(orjson.dumps(made), 200, _OPEN, "application/json")

    async def revoke(request: Request) -> Response:
        try:
            given = await _form(request)
            await engine.call(END, {"token": given.get("token", "")}, principal.SYSTEM)
        except errors.SluiceError as error:
            return _token_fault(error)
        return Response(b"", 200, _OPEN)

    add = out.add_api_route
    for path, operation, method, endpoint in (
        (RESOURCE_METADATA, METHODS, "GET", resource),
        (RESOURCE_METADATA + "/mcp", METHODS, "GET", resource),
        (admission.SERVER_METADATA, METHODS, "GET", server),
        (admission.AUTHORIZE, ASK, "GET", authorize),
        (admission.AUTHORIZE, APPROVE, "POST", decide),
        (admission.TOKEN, TOKENS, "POST", token),
        (admission.REVOKE, END, "POST", revoke),
    ):
        if not outside or endpoint is resource:
            add(path, routes.stands_for(operation, endpoint), methods=[method], include_in_schema=False)
    return out


def _metadata(said: dict[str, object]) -> Response:
    headers = {**_OPEN, "cache-control": "public, max-age=300"}
    return Response(orjson.dumps(said), 200, headers, "application/json")


def _page(asked: dict[str, object], who: principal.Principal, transaction: str, redirect_uri: str) -> Response:
    """What is asked: who wants it, where the answer goes, what it may then do, and as whom."""
    scopes = asked["scopes"]
    assert isinstance(scopes, dict)
    listed = "".join(f"<li><code>{escape(one)}</code>: {escape(text)}</li>" for one, text in scopes.items())
    id, place = escape(str(asked["client_id"])), escape(str(asked["place"]))
    body = (
        f"<p><strong>{escape(str(asked['name']))}</strong> (<code>{id}</code>) wants to act at this Sluice as"
        f" <strong>{escape(who.username)}</strong>.</p><p>The answer goes to <code>{place}</code>."
        " If you have not just begun to connect it, refuse.</p>"
        f"<p>It will be able to:</p><ul>{listed}</ul>"
        f'<form method="post" action="{admission.AUTHORIZE}">'
        f'<input type="hidden" name="transaction" value="{transaction}">{_choice(who)}'
        '<button name="decision" value="allow">Let it in</button>'
        ' <button name="decision" value="deny">Refuse</button></form>'
    )
    parts = urlsplit(redirect_uri)
    # Browsers hold a redirect that answers a form to the policy of its page.
    goes = f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else f"{parts.scheme}:"
    return pages.page("Let an MCP host in?", body, forms=f"'self' {goes}")


def _tenants(who: principal.Principal) -> list[str]:
    return [one for one in who.tenants if one != principal.EVERY_TENANT]


def _choice(who: principal.Principal) -> str:
    """In which tenant the host acts, where there are several: it has no way of saying which."""
    own = _tenants(who)
    if len(own) < 2:
        return ""
    options = "".join(f"<option>{escape(one)}</option>" for one in own)
    return f'<p><label>In the tenant <select name="tenant">{options}</select></label></p>'


async def _form(request: Request) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise errors.InvalidParams("The request has to be a form.", details={"error": "invalid_request"})
    return _once((await request.body()).decode("utf-8", "replace"))


def _once(text: str) -> dict[str, str]:
    """The pairs of a query or form. Raises InvalidParams for one that comes twice, or too much."""
    pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=30) if len(text) <= _MOST_QUERY else []
    found = dict(pairs)
    if not pairs or len(found) != len(pairs):
        raise errors.InvalidParams(
            "The request is not one, or names a thing twice.", details={"error": "invalid_request"}
        )
    return found


def _token_fault(error: errors.SluiceError) -> Response:
    code = str(error.details.get("error", "invalid_request"))
    status = 400 if isinstance(error, errors.InvalidParams) else problems.status_of(error)
    said = {"error": code if status == 400 else "server_error", "error_description": error.message}
    return Response(orjson.dumps(said), status, _OPEN, "application/json")
