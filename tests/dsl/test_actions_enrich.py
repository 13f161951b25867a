"""enrich: rows of a file, found by their fields, read again when the file changes."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.dsl.actions import lookup
from core.dsl.actions.enrich import Enrich
from core.dsl.actions.lookup import Table
from core.dsl.component import Event, Limits
from core.dsl.language.compile import CompiledJob, compile_job
from core.errors import InvalidDocument
from tests import waiting
from tests.dsl import stub
from tests.dsl.stub import Stub, document, run
from tests.filepolicies import only

HOSTS = 'name,site,owner\ndb1,berlin,ada\ndb1,paris,later\n7,oslo,"bob, eve"\nWEB,rome\n'


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.csv"
    path.write_text(HOSTS)
    return path


def enrich(path: Path, **keys: Any) -> dict[str, Any]:
    return {"enrich": {"lookup-file": str(path), "match": {"host": "name"}, **keys}}


@pytest.mark.parametrize(
    ("keys", "event", "expected"),
    [
        ({}, {"host": "db1"}, {"host": "db1", "site": "berlin", "owner": "ada"}),
        ({}, {"host": 7}, {"host": 7, "site": "oslo", "owner": "bob, eve"}),
        ({}, {"host": "WEB", "site": None}, {"host": "WEB", "site": None}),
        ({"overwrite": True}, {"host": "WEB", "site": None}, {"host": "WEB", "site": "rome"}),
        ({"add": "owner"}, {"host": "db1"}, {"host": "db1", "owner": "ada"}),
        (
            {"add": ["owner", {"place.city": "site"}]},
            {"host": "db1"},
            {"host": "db1", "owner": "ada", "place": {"city": "berlin"}},
        ),
        ({"add": [{"event-field": "x", "lookup-field": "site"}]}, {"host": "db1"}, {"host": "db1", "x": "berlin"}),
        ({"default": {"owner": "nobody", "n": 0}}, {"host": "zz"}, {"host": "zz", "owner": "nobody", "n": 0}),
        ({"default": {"owner": "nobody"}}, {"host": "zz", "owner": "me"}, {"host": "zz", "owner": "me"}),
        ({"default": {"owner": "nobody"}}, {}, {"owner": "nobody"}),
        ({"case-sensitive": False, "add": "site"}, {"host": "web"}, {"host": "web", "site": "rome"}),
        (
            {"match": [{"event-field": "host", "lookup-field": "name"}, {"site": "site"}], "add": "owner"},
            {"host": "db1", "site": "paris"},
            {"host": "db1", "site": "paris", "owner": "later"},
        ),
        ({"match": "name", "add": "site"}, {"name": "db1"}, {"name": "db1", "site": "berlin"}),
    ],
)
def test_a_row_gives_its_fields(hosts: Path, keys: dict[str, Any], event: Event, expected: Event) -> None:
    assert run([event], enrich(hosts, **keys)) == [expected]


@pytest.mark.parametrize(
    ("text", "match", "expected"),
    [
        ('[{"name": "a", "n": {"deep": [1]}}]', {"k": "name"}, {"k": "a", "n": {"deep": [1]}}),
        ('[{"id": {"code": "a"}, "n": 1}]', {"k": "id.code"}, {"k": "a", "id": {"code": "a"}, "n": 1}),
        ('{"a": {"n": 1}, "b": {"n": 2}}', {"k": "key"}, {"k": "a", "n": 1}),
        ('{"a": "one", "b": "two"}', {"k": "key"}, {"k": "a", "value": "one"}),
    ],
)
def test_a_json_file_is_an_array_or_an_object_of_rows(
    tmp_path: Path, text: str, match: dict[str, str], expected: Event
) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    first, second = run([{"k": "a"}, {"k": "a"}], enrich(path, match=match))
    assert first == expected
    first.pop("n", [])
    assert second == expected  # a change of one event is none of the table
    assert run([{"k": "a"}], enrich(path, match=match, format="json"))[0] == expected


def test_an_event_without_a_row_goes_on_with_a_warning(hosts: Path) -> None:
    env = Stub()
    events: list[Event] = [{"host": "zz"}, {}, {"host": ["db1"]}, {"host": None}]
    assert run([dict(event) for event in events], enrich(hosts), env=env) == events
    assert env.lines[0][1].endswith("there is no row for host: zz")
    assert len(env.lines) == 4
    assert run([{"host": "zz"}], enrich(hosts, **{"suppress-warnings": True}), env=Stub()) == [{"host": "zz"}]


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("gone.csv", None, "does not exist"),
        ("bad.csv", b'name,b\n"open', "line 2: unexpected end of data"),
        ("latin.csv", b"name\n\xff\n", "can't decode byte"),
        ("other.csv", b"x,y\n1,2\n", "no row has the field name"),
        ("bad.json", b"{", "unexpected end"),
        ("list.json", b"[1]", "neither an array of objects nor an object"),
        ("big.csv", b"name\n" + b"x" * 400, "larger than 300 bytes"),
        ("many.csv", b"name\n1\n2\n3\n4\n", "more than 3 rows"),
    ],
)
def test_a_file_that_cannot_be_used_fails_the_job_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes | None, told: str
) -> None:
    monkeypatch.setattr(lookup, "MAX_BYTES", 300)
    monkeypatch.setattr(lookup, "MAX_ROWS", 3)
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidDocument, match=told):
        run([{}], enrich(tmp_path / name))


def test_the_path_rules_hold_for_lookup_files(hosts: Path, tmp_path: Path) -> None:
    outside = Stub(limits=Limits(files=only(tmp_path / "data")))
    with pytest.raises(InvalidDocument, match="outside of where jobs"):
        run([{}], enrich(hosts), env=outside)
    (tmp_path / "link.csv").symlink_to(hosts)
    with pytest.raises(InvalidDocument, match="symbolic link"):
        run([{}], enrich(tmp_path / "link.csv"))


def test_a_file_that_changes_is_read_again_and_one_that_breaks_is_not(
    hosts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(lookup.clock, "monotonic", lambda: now[0])
    env = Stub()
    job: CompiledJob = compile_job(document(enrich(hosts, add="owner")), env)

    def owner() -> Any:
        return stub.through(job, [{"host": "db1"}])[0].get("owner")

    hosts.write_text(HOSTS.replace("ada", "grace"))
    os.utime(hosts, ns=(1, 1))
    assert owner() == "ada"  # it is looked at once in a second
    now[0] += 1
    assert owner() == "grace"
    hosts.write_text('name,owner\n"')
    now[0] += 1
    assert owner() == "grace"
    assert "its old rows stay: line 2: unexpected end of data" in env.lines[-1][1]
    told = len(env.lines)
    now[0] += 1
    assert owner() == "grace" and len(env.lines) == told, "what is known to be broken is not read again"
    hosts.unlink()
    now[0] += 1
    assert owner() == "grace"
    assert "does not exist" in env.lines[-1][1]


@pytest.mark.parametrize("half", ["", "name,ow", "site,owner\nx,y\n"])
def test_a_file_that_is_being_written_anew_leaves_its_old_rows(
    hosts: Path, monkeypatch: pytest.MonkeyPatch, half: str
) -> None:
    now = [100.0]
    monkeypatch.setattr(lookup.clock, "monotonic", lambda: now[0])
    env = Stub()
    job = compile_job(document(enrich(hosts, match={"host": "name", "owner": "owner"})), env)
    hosts.write_text(half)
    now[0] += 1
    assert stub.through(job, [{"host": "db1", "owner": "ada"}])[0]["site"] == "berlin"
    assert "its old rows stay" in env.lines[-1][1]


def test_a_table_that_has_no_rows_any_more_is_told(hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(lookup.clock, "monotonic", lambda: now[0])
    env = Stub()
    job = compile_job(document(enrich(hosts, default={"owner": "nobody"})), env)
    hosts.write_text("name,owner\n")
    now[0] += 1
    assert stub.through(job, [{"host": "db1"}]) == [{"host": "db1", "owner": "nobody"}]
    assert "has no rows any more" in env.lines[-1][1]


def test_a_field_to_add_that_no_row_has_is_told(hosts: Path) -> None:
    env = Stub()
    compile_job(document(enrich(hosts, add=["owner", "nocol"])), env)
    assert [text for _, text in env.lines if "the field nocol, which is to be added" in text]


def test_a_large_file_is_read_in_threads(hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, where = [100.0], list[str]()
    indexed = Table._indexed
    monkeypatch.setattr(lookup, "SMALL_BYTES", 10)
    monkeypatch.setattr(lookup.clock, "monotonic", lambda: now[0])

    def noting(*arguments: Any) -> Any:
        where.append(threading.current_thread().name)
        return indexed(*arguments)

    monkeypatch.setattr(Table, "_indexed", noting)
    env = Stub()
    job = compile_job(document(enrich(hosts, add="owner")), env)
    (read,) = env.before_events
    assert where == []
    read()

    def owner() -> Any:
        return stub.through(job, [{"host": "db1"}])[0].get("owner")

    assert owner() == "ada"
    hosts.write_text(HOSTS.replace("ada", "grace"))
    now[0] += 1
    waiting.until_now(owner, lambda found: found == "grace")
    assert [name == "lookup" for name in where] == [False, True]


@pytest.mark.parametrize("keys", [{"match": {}}, {"match": []}, {"delim": '"'}, {"lookup-file": ""}])
def test_enrich_needs_a_file_fields_to_match_and_a_plain_delimiter(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Enrich.model_validate({"lookup-file": "x.csv", "match": "a", **keys})
