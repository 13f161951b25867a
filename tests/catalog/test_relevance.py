"""What people and agents ask for, in their own words, and what has to be among the first three that are found."""

from __future__ import annotations

from core.catalog import builtin, words
from core.catalog.collection import Collection
from core.catalog.ranking import Ranking
from tests import cases

BUILTIN = Collection(builtin.load())
FIRST = 3
ASKED = {
    "forward events to a webhook and survive a restart": "http-collect-deliver",
    "How do I forward events so that none is lost in a crash?": "ingest-spool-deliver",
    "fan out to two sinks": "balanced-delivery",
    "mirror a copy to another service": "mirrored-delivery",
    "share the load between two servers": "balanced-delivery",
    "dedupe": "kv-dedupe",
    "make sure each order is delivered only once": "dedupe-with-kv",
    "duplicates from a webhook": "webhook-dedupe-files",
    "split errors from everything else": "severity-split",
    "route by severity": "severity-split",
    "merge two sources into one": "fan-in-hub",
    "poll a REST API and post new records elsewhere": "http-collect-deliver",
    "receive webhooks and write them to a file": "webhook-dedupe-files",
    "follow log files": "file-tail-to-files",
    "archive files and replay them later": "archive-sink",
    "send the history again": "spool-with-replay",
    "backfill from an archive": "archive-backfill",
    "work queue with retries": "work-queue",
    "daily report of new events": "daily-count",
    "notify people when the server answers 500": "alert-on-errors",
    "mask personal data": "field-remover",
    "parse CSV": "csv-parser",
    "counts by severity per window": "severity-rollup",
    "validate events against a schema": "schema-gate",
    "enrich events from a CSV file": "lookup-enricher",
    "index events in elasticsearch": "elasticsearch-sink",
    "run a command every minute": "command-source",
    "buffer on disk between source and sink": "ingest-spool-deliver",
    "hello world": "quickstart-file-store-roundtrip",
    "answer a trigger": "trigger-handler",
    "wake a step by a message": "wake-on-arrival",
    "printing": "file-printer",
}


@cases.table("query", ASKED)
def test_what_is_asked_for_is_among_the_first_three(query: str) -> None:
    assert ASKED[query] in [one.slug for one in BUILTIN.search(query).items[:FIRST]]


@cases.table("query", ["deliver", "delivers", "delivered", "DELIVERING", "deliv", "(deliver)"])
def test_a_word_is_found_by_its_stem_and_its_beginning(query: str) -> None:
    assert "http-collect-deliver" in [one.slug for one in BUILTIN.search(query).items]


def test_words_that_say_nothing_are_passed_over_but_for_a_query_of_nothing_else() -> None:
    assert words.split("How do I dedupe the events?") == ["dedupe"]
    assert words.split("fan out to two sinks") == ["fan-out", "two", "sinks"]
    assert words.split("to the") == ["to", "the"]
    assert words.split("?!") == ["?!"]
    assert len(words.split(" ".join(f"w{number}" for number in range(99)))) == words.MOST


def test_when_none_has_all_words_those_with_most_come_and_say_what_they_lack() -> None:
    found = BUILTIN.search("dedupe webhook zebra")
    assert found.items[0].slug == "webhook-dedupe-files"
    assert found.row(found.items[0])["lacks"] == ["zebra"]
    assert all(len(found.lacks[one.type.value, one.slug]) == 1 for one in found.items[:1])
    every = BUILTIN.search("dedupe webhook")
    assert every.lacks == {} and "lacks" not in every.row(every.items[0])
    assert BUILTIN.search("zebra okapi webhook").items == ()  # less than half of the words


def test_the_filters_come_before_the_question_who_has_all_words() -> None:
    found = BUILTIN.search("dedupe webhook", type="blueprint")
    assert {one.slug for one in found.items} >= {"kv-dedupe", "webhook-source"}
    assert all(found.lacks[one.type.value, one.slug] for one in found.items)


def test_the_word_itself_counts_more_than_one_that_means_the_same() -> None:
    ranked = Ranking(BUILTIN.listed).rank("spool")
    best = [BUILTIN.listed[fit.place].slug for fit in ranked]
    assert best.index("ingest-spool-deliver") < best.index("queue-sink")  # which survives restarts
    assert all(fit.lacks == () for fit in ranked)


def test_each_group_of_synonyms_has_a_reason_and_a_word_is_in_one() -> None:
    every = [word for group in words.SYNONYMS for word in group.words]
    assert len(every) == len(set(every))
    assert all(len(group.words) > 1 and group.why for group in words.SYNONYMS)
    assert not words.STOP & set(every)


def test_facets_count_what_was_found() -> None:
    found = BUILTIN.search("dedupe")
    facets = found.facets()
    assert sum(facets["type"].values()) == sum(facets["source"].values()) == len(found.items)
    assert facets["availability"] == {"installed": len(found.items)}
    for tag, count in facets["tags"].items():
        assert len(BUILTIN.search("dedupe", tags=[tag]).items) == count
    assert BUILTIN.search("nothing-like-it").facets() == {"type": {}, "source": {}, "availability": {}, "tags": {}}
