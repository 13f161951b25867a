"""The patterns of names and ids in words, for whoever has to mend a value that does not fit one."""

from __future__ import annotations

from core.model import catalog

WORDS = {
    **catalog.SPELLINGS,
    r"\S": "must not be blank",
    "^msg_[0-9a-f]{16}$": "must be the id of a message, such as msg_0123456789abcdef",
    "^-?[a-z][a-z_]*$": "must be the name of a field, with - before it from the highest",
    "^[a-z_]+$": "must be lower-case letters and _",
    "^(?:blueprint|workflow):[a-z0-9][a-z0-9_-]*(?:@[0-9A-Za-z.+-]+)?$": (
        "must be workflow:SLUG or blueprint:SLUG, with @VERSION behind it or not"
    ),
    r"^[\x20-\x7e]{1,200}$": "must be printable ASCII, at most 200 characters",
    "^[a-z][a-z0-9-]{0,39}$": "must be lower-case letters, digits and -, beginning with a letter",
    "^[a-z0-9][a-z0-9_-]{0,63}$": (
        "must be a slug: lower-case letters, digits, - and _, beginning with a letter or digit, at most 64 characters"
    ),
    "^[a-z0-9][a-z0-9_-]{0,62}$": (
        "must be lower-case letters, digits, - and _, beginning with a letter or digit, at most 63 characters"
    ),
    "^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}$": (
        "must be a name: letters, digits, _, ., : and -, beginning with a letter, digit or _, at most 200 characters"
    ),
    "^(?:[a-z0-9]+(?:[_-][a-z0-9]+)*)?$": (
        "must be a name (lower-case letters and digits, with single - or _ between them) or empty"
    ),
    "^(?:[0-9a-f]{40})?$": "must be a whole commit, 40 lower-case hexadecimal digits, or empty",
    "^let_[0-9a-f]{16}$": "must be the id of a dead letter, such as let_0123456789abcdef",
    "^(/actions/[0-9]{1,3}|/output)?$": "must be /actions/N, /output or empty",
    "^[0-9a-f]{16}$": "must be a cursor as the answer before gave it",
    "^([0-9a-f]{16})?$": "must be a cursor as the answer before gave it, or empty",
    r"^job:(\*|[A-Za-z0-9][A-Za-z0-9_.:-]{0,199})(/(state|worker|version|document(/.*)?))?$": (
        "must be job:NAME, or job:* for every job, with /state, /worker, /version or /document/POINTER behind it or not"
    ),
    "^[a-z0-9][a-z0-9_-]{0,62}$|^$": (
        "must be lower-case letters, digits, - and _, beginning with a letter or digit, at most 63 characters; or empty"
    ),
    "^[0-9a-f]{32}$": "must be 32 lower-case hexadecimal digits",
    "^(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$": (
        "must be SCOPE/NAME or NAME, each of letters, digits, _, . and -, beginning with a letter, digit or _"
    ),
    "^(read|run|write|toolset:[a-z]{1,40}|operation:[a-z_]{1,64}|trigger:[a-z0-9][a-z0-9_-]{0,63})$": (
        "must be a scope: read, run, write, toolset:NAME, operation:NAME or trigger:SLUG"
    ),
    "^[a-z0-9][a-z0-9-]{0,62}$": (
        "must be lower-case letters, digits and -, beginning with a letter or digit, at most 63 characters"
    ),
    "^[A-Za-z_][A-Za-z0-9_.-]{0,99}$": "must be a name: letters, digits, _, . and -, beginning with a letter or _",
    r"^(?:\*|[A-Za-z0-9][A-Za-z0-9._-]{0,63})$": (
        "must be a tenant (letters, digits, ., _ and -, beginning with a letter or digit), or * for every one"
    ),
    "^[A-Za-z0-9][A-Za-z0-9_.:/=-]{0,62}$": (
        "must be a label: letters, digits, _, ., :, /, = and -, beginning with a letter or digit, at most 63 characters"
    ),
}
"""Pattern -> words that follow the name of a value; every pattern of an operation is here."""


def explain(pattern: str) -> str:
    """What a pattern asks for, in words; those of triggers' own schemas are quoted as their authors wrote them."""
    return WORDS.get(pattern) or f"must match the pattern {pattern}"
