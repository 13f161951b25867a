"""Credentials: who stands behind a token, and what one may be made with.

tokens keeps API keys, mints JWTs from them, and tells whom either stands for and whether it was revoked; jwts signs a
JWT and checks one: signature, audience, times; mcp_grants lets MCP hosts in (mcp_clients: which
ones); outside reads access tokens of the provider for /mcp;
links open the console once, devices lets a program in
without a browser; roles binds roles to groups, people and
service accounts; signing_in lets people in whom a provider vouches for (provider asks it, idtokens reads what it
signs). What a credential grants, and when one
is wider than another, is model/grants. First file to read: tokens.
"""
