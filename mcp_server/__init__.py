"""The front doors of Sluice: MCP (server), HTTP (http), commands (cli). They call operations; the engine is core.

Reading order: session (what a door talks to) -> attach (the way there) -> door and server -> http -> cli. service:
Sluice as a service of its machine. directions: where the engine sends its reader, said by each door in its words
(wording, http/wording, cli/wording). confirmation: asks the user, through the client, before a destructive call.
"""
