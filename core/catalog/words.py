"""The words of a search: which of them say nothing, and which mean the same.

A list is short on purpose: what stands in it is found without the word that somebody asked for. Each group says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

MOST = 16  # words of one query; more make it slow and no better


class Synonyms(NamedTuple):
    """Words that stand for each other, and why they do here. One of two words is written with a dash."""

    words: tuple[str, ...]
    why: str


SYNONYMS: tuple[Synonyms, ...] = (
    Synonyms(
        ("forward", "deliver", "delivery", "sink", "send", "push", "output", "destination", "post"),
        "where events end is called by what is done with them, or by the place",
    ),
    Synonyms(
        ("store", "spool", "durable", "persist", "persistent", "restart", "survive", "crash", "lose", "loss", "buffer"),
        "what is kept on a disk between two steps is asked for by what it is good for",
    ),
    Synonyms(
        ("split", "route", "routing", "router", "fan-out", "branch", "mirror", "broadcast", "dispatch"),
        "one way that becomes several",
    ),
    Synonyms(("merge", "combine", "fan-in", "join", "together"), "several ways that become one"),
    Synonyms(
        ("dedupe", "deduplicate", "once", "duplicate", "unique", "idempotent"),
        "that nothing goes on twice is asked for by the fault or by the cure",
    ),
    Synonyms(
        ("source", "ingest", "input", "collect", "read", "receive"), "where events begin is called by how they come"
    ),
    Synonyms(("poll", "fetch", "pull", "scrape"), "a service that is asked again and again"),
    Synonyms(("webhook", "http", "url", "endpoint", "rest"), "what speaks HTTP, on either side"),
    Synonyms(("tail", "follow", "watch"), "a file that grows"),
    Synonyms(
        ("replay", "backfill", "resend", "reprocess", "history"), "what was kept goes through a pipeline once more"
    ),
    Synonyms(
        ("schedule", "cron", "periodic", "daily", "hourly", "nightly", "timer", "interval"), "what a clock starts"
    ),
    Synonyms(("alert", "notify", "notification", "page", "warn"), "what people are to see at once"),
    Synonyms(("redact", "mask", "privacy", "personal", "pii", "anonymize", "scrub"), "what must not go further"),
    Synonyms(("balance", "balanced", "round-robin", "turns", "share", "load"), "several that divide the work"),
    Synonyms(("count", "aggregate", "rollup", "statistics", "metrics", "window"), "many events that become a number"),
    Synonyms(("validate", "schema", "quality", "check"), "events that have to have a form"),
    Synonyms(("enrich", "lookup", "label", "annotate"), "fields that events are given"),
    Synonyms(("parse", "parser", "decode"), "texts that become fields"),
    Synonyms(("print", "stdout", "console", "debug"), "events that one wants to see"),
    Synonyms(("queue", "tickets", "tasks", "backlog"), "work that consumers take one by one"),
    Synonyms(
        ("start", "starter", "template", "skeleton", "example", "quickstart", "hello-world"),
        "what a beginner looks for",
    ),
)

STOP = frozenset(
    "a about after against all also am an and another any are as at be been before between but by can could did do"
    " does each else every event events exactly find for from get gets give go goes had has have help how i if in"
    " into is it its just let like make may me must my need needs no not of off on only onto or other our out over"
    " per please should show so some something such sure than that the their them then there these they this those"
    " through to too up us use using want was we were what when where whether which while who whose why will with"
    " without would you your data pipeline workflow pipelines workflows sluice".split()
)
"""Words that say nothing of what is looked for; they count when a query has no others."""


def split(text: str) -> list[str]:
    """The words of a query that say something, each once, at most `MOST`; of one without such words, all of them.

    Two words that stand in SYNONYMS as one are one: `fan out` is `fan-out`. Signs at their ends are left off.
    """
    every = [word.strip(_SIGNS) or word for word in text.split()]
    said: list[str] = []
    at = 0
    while at < len(every):
        pair = "-".join(every[at : at + 2]).casefold()
        joined = at + 1 < len(every) and pair in _PAIRS
        said.append(pair if joined else every[at])
        at += 2 if joined else 1
    words = [word for word in said if word.casefold() not in STOP and any(map(str.isalnum, word))]
    return list(dict.fromkeys(words or every))[:MOST]


def texts(groups: Sequence[Synonyms] = SYNONYMS) -> list[tuple[str]]:
    """The groups as rows of a full-text index, by which a word is found in them whatever its ending."""
    return [(" , ".join(group.words),) for group in groups]


_SIGNS = ".,;:!?()[]{}\"'`"
_PAIRS = frozenset(word for group in SYNONYMS for word in group.words if "-" in word)
