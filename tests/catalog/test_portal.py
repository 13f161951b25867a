"""What a portal says is held against its rules: hostile indexes, and documents that are not what was offered."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.catalog.portal import MAX_INDEX_BYTES, Offer, offers, parse, verify
from core.model.portal import MAX_ITEMS, PortalIndex
from tests import cases
from tests.portals import JOB, PRINTED, SOURCE, item

GOOD: dict[str, Any] = item(SOURCE, "ticks.yaml", type="blueprint", slug="ticks", version="1.0.0")


def index(*items: Any, **more: Any) -> bytes:
    return orjson.dumps({"schema_version": "v1", "items": list(items), **more})


def offer(text: str = SOURCE, **more: Any) -> Offer:
    entry = {**GOOD, **item(text, "ticks.yaml"), **more}
    return offers("acme", PortalIndex.model_validate({"schema_version": "v1", "items": [entry]}))[0]


def test_an_index_is_read_and_its_items_are_offered() -> None:
    read = parse(index(GOOD, title="Acme"), "of acme")
    (one,) = offers("acme", read)
    assert (one.ref, one.source, one.availability, one.portal) == (
        "blueprint:ticks@1.0.0",
        "portal",
        "portal-only",
        "acme",
    )
    assert one.title == "ticks"  # what has no title is called by its slug


@cases.table(
    ("change", "pointer"),
    [
        ({"path": "../secrets.yaml"}, "/items/0/path"),
        ({"path": "a/../../b.yaml"}, "/items/0/path"),
        ({"path": "/etc/passwd"}, "/items/0/path"),
        ({"path": "https://evil.example/x"}, "/items/0/path"),
        ({"path": "//evil.example/x"}, "/items/0/path"),
        ({"path": "a\\..\\b"}, "/items/0/path"),
        ({"path": "%2e%2e/x"}, "/items/0/path"),
        ({"path": ".hidden/x"}, "/items/0/path"),
        ({"path": "a.yaml\n"}, "/items/0/path"),
        ({"path": "a?b=c"}, "/items/0/path"),
        ({"path": ""}, "/items/0/path"),
        ({"slug": "../x"}, "/items/0/slug"),
        ({"slug": "Ticks"}, "/items/0/slug"),
        ({"type": "secret"}, "/items/0/type"),
        ({"version": "one"}, "/items/0/version"),
        ({"version": 1}, "/items/0"),
        ({"type": "workflow"}, "/items/0"),
        ({"sha256": "abc"}, "/items/0/sha256"),
        ({"sha256": "A" * 64}, "/items/0/sha256"),
        ({"size": 0}, "/items/0/size"),
        ({"size": 2**40}, "/items/0/size"),
        ({"title": "x" * 500}, "/items/0/title"),
        ({"run": "rm -rf"}, "/items/0/run"),
    ],
)
def test_a_fault_of_an_item_is_told_with_its_place(change: dict[str, Any], pointer: str) -> None:
    with pytest.raises(errors.InvalidDocument) as caught:
        parse(index({**GOOD, **change}), "of acme")
    assert caught.value.errors[0].pointer.startswith(pointer)


@cases.table(
    ("raw", "why"),
    [
        (b"", "is not JSON"),
        (b"<html>", "is not JSON"),
        (b"[]", "needs schema_version and items"),
        (b'{"schema_version": "v1", "items": {}}', "needs schema_version and items"),
        (b'{"schema_version": "v9", "items": []}', "schema_version v9"),
        (b'{"items": []}', "schema_version None"),
        (index(extra=1), "is not valid"),
        (index(GOOD, GOOD), "has items that are not valid"),
        (b"[" * 100_000, "too large"),
        (b" " * (MAX_INDEX_BYTES + 1), "too large"),
        (b'{"schema_version":"v1","items":[' + b"[]," * 200_000 + b"[]]}", "too large"),
        (index(*([1] * (MAX_ITEMS + 1))), "at most 20000"),
        (b'{"schema_version":"v1","items":' + b"[" * 2000 + b"]" * 2000 + b"}", "is not JSON"),
    ],
)
def test_an_index_that_cannot_be_used_is_refused_with_the_reason(raw: bytes, why: str) -> None:
    with pytest.raises(errors.InvalidDocument, match=why):
        parse(raw, "of acme")


def test_an_index_full_of_faults_names_the_first_twenty() -> None:
    with pytest.raises(errors.InvalidDocument) as caught:
        parse(index(*({"type": "x"} for _ in range(10_000))), "of acme")
    assert len(caught.value.errors) == 20


@given(st.binary(max_size=200))
def test_any_bytes_are_an_index_or_refused(raw: bytes) -> None:
    with pytest.raises(errors.InvalidDocument):
        parse(raw, "x")


def test_a_document_is_what_was_offered() -> None:
    piece = verify(offer(), SOURCE.encode())
    assert (piece.model.slug, piece.model.version, piece.text) == ("ticks", "1.0.0", SOURCE)


def test_a_document_that_was_changed_or_cut_off_is_refused() -> None:
    with pytest.raises(errors.InvalidDocument, match="SHA-256"):
        verify(offer(), SOURCE.replace("tick ", "tock ").replace("event: tick", "event: tock").encode())
    with pytest.raises(errors.InvalidDocument, match="cut off"):
        verify(offer(), SOURCE.encode()[:-1])
    with pytest.raises(errors.InvalidDocument, match="cut off or changed"):
        verify(offer(), SOURCE.encode() + b"\n")


@cases.table(
    ("text", "why"),
    [
        (PRINTED, "is a workflow and not a blueprint"),
        (JOB, "is a library-job and not a blueprint"),
        (SOURCE.replace("slug: ticks", "slug: other"), "is other 1.0.0 and not ticks 1.0.0"),
        (SOURCE.replace("version: 1.0.0", "version: 1.0.1"), "is ticks 1.0.1"),
        (f"{SOURCE}---\n{SOURCE}", "holds 2 documents"),
        ("kind: blueprint\nslug: ticks\n", "not a valid blueprint"),
        ("a: &x [1]\nb: *x\n", "acme/ticks.yaml"),
        ("just text", "acme/ticks.yaml"),
    ],
)
def test_a_document_that_is_something_else_is_refused(text: str, why: str) -> None:
    with pytest.raises(errors.InvalidDocument, match=why):
        verify(offer(text), text.encode())


def test_a_document_that_is_not_text_is_refused() -> None:
    raw = b"kind: \xff"
    with pytest.raises(errors.InvalidDocument, match="not UTF-8 at byte 6"):
        verify(offer(raw.decode("latin-1"), **{"size": len(raw), "sha256": _sha(raw)}), raw)


def _sha(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
