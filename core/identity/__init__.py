"""Credentials: who stands behind a token, and what one may be made with.

tokens keeps API keys, mints JWTs from them, and verifies whom either stands for; signing is the text of a JWT. What a
credential grants, and when one is wider than another, is model/grants. First file to read: tokens.
"""
