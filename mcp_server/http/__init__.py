"""The HTTP door, in the way of a request:

serving, tls       sockets that we bind (core.accepting: how many connections, in all and of one address)
connection         one of them: slow heads and bodies (how slow is too slow: core.accepting), answers that are not read
admission -> auth  Host, Origin, size and credentials (cookies: those of a browser); arriving counts what one user has
                   under way
app                what answers: routes (operations), streams -> message_stream, log_stream (events, written by sse),
                   pictures, metrics (written by exposition), console, site, /mcp; browser and signing_in: with a key or
                   link, and with a provider; pages: small ones for people
sockets            the WebSocket on which workers of other machines join
forwarded          what trusted proxies say of their clients; how many requests of one client are under way
arguments          path, query and body of a request as the arguments of an operation; replays: its Idempotency-Key
problems, openapi  faults, and the description of all of it
oauth              letting MCP hosts in: metadata, the page that asks, tokens
wording            calls and hints as routes (mcp_server.directions finds them)
sessions           what a remote session and the console use: operations by name, and notices of what changed
"""
