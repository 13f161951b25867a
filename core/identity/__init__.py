"""Credentials: who stands behind a token, and what one may be made with.

tokens keeps API keys, mints JWTs from them, and tells whom either stands for and whether it was revoked; jwts signs a
JWT and checks one: signature, audience, times; links open the console once; roles binds roles to groups, people and
service accounts. What a credential grants, and when one
is wider than another, is model/grants. First file to read: tokens.
"""
