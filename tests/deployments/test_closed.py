"""What a plan says of what is closed on the workers that a job may come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from core.deployments import closed
from core.dsl.language import compile as compiler
from core.fileroots import FileMode, FileRoot
from core.guard import addresses
from core.guard.filepolicy import FilePolicy
from core.guard.openings import Candidate, Openings
from core.guard.pathrules import FileRules

OPEN = Openings(exec=True, egress=("10.0.0.0/8",), listen=("0.0.0.0",), nats=True, cloud=True)
SHUT = Openings(closed_ports=(3000,))


def candidates(**opened: Openings | None) -> list[Candidate]:
    return [Candidate(name, name.startswith("edge"), openings, None) for name, openings in opened.items()]


def told(there: list[Candidate], *, input: Any = None, output: Any = None) -> closed.Told:
    source = input or {"echo": {"event": "x"}}
    document = {"name": "one", "input": source, "output": output or {"discard": {}}}
    return closed.of_checked("one", "etl", compiler.check_job(document), lambda group: there)


EXEC: Mapping[str, Any] = {"exec": {"command": "date", "trigger": {"interval": "1h"}}}


def test_what_no_worker_allows_is_a_blocker_that_names_the_setting_and_who_may() -> None:
    found = told(candidates(a=SHUT, b=SHUT), input=EXEC)
    (one,) = found.blockers
    assert one.code == "closed" and not found.warnings
    assert one.message == "Job one, /input/exec: no worker of group etl runs commands."
    assert one.hint == (
        "Whoever starts sluice serve can open it: setting allow_exec (sluice.toml, or SLUICE_ALLOW_EXEC=true), "
        "at the next start."
    )


@pytest.mark.parametrize(
    ("url", "value"),
    [("http://[::ffff:192.168.1.1]/", "10.0.0.0/8,192.168.1.1"), ("http://[fd00::1]/", "10.0.0.0/8,fd00::1")],
)
def test_the_value_of_a_setting_keeps_what_is_open_and_is_as_the_setting_takes_it(url: str, value: str) -> None:
    half = Openings(egress=("10.0.0.0/8",))
    (one,) = told(candidates(a=half, b=half), output={"http-post": {"url": url}}).blockers
    assert f"SLUICE_EGRESS_ALLOW={value})" in one.hint
    opened = Openings(egress=tuple(value.split(",")))
    assert told(candidates(a=opened), output={"http-post": {"url": url}}) == ([], [])


def test_what_some_allow_is_a_warning_that_names_both() -> None:
    found = told(candidates(a=OPEN, edge1=SHUT), input=EXEC)
    (one,) = found.warnings
    assert one.code == "closed_on_some_workers" and not found.blockers
    assert "not every worker of group etl runs commands; a may, and not edge1" in one.message
    assert one.hint.startswith("Whoever runs sluice worker edge1 can open it: setting allow_exec")


def test_nothing_is_said_of_what_is_open_of_workers_that_are_not_known_and_of_groups_without_any() -> None:
    for there in (candidates(a=OPEN), candidates(), candidates(edge=None)):
        assert told(there, input=EXEC) == ([], [])
    assert told(candidates(a=SHUT, edge=None), input=EXEC).warnings, "the other one may allow it"


@pytest.mark.parametrize(
    ("output", "blocked"),
    [
        ({"http-post": {"url": "http://10.1.2.3:8080/x"}}, "lets jobs connect to http://10.1.2.3:8080/x"),
        ({"http-post": {"url": "http://localhost/x"}}, "lets jobs connect to"),
        (
            {"http-post": {"url": "http://192.168.1.1/${id}?q=${q}"}},
            "lets jobs connect to http://192.168.1.1/${id}?q=${q}.",
        ),
        ({"http-post": {"url": "https://example.com/x"}}, ""),
        ({"elasticsearch": {"url": "http://10.0.0.1:9200", "index": "i"}}, "lets jobs connect to"),
    ],
)
def test_addresses_that_are_written_out_are_looked_at(output: Any, blocked: str) -> None:
    found = told(candidates(a=SHUT), output=output)
    assert [blocked in one.message for one in found.blockers] == ([True] if blocked else [])
    assert not told(candidates(a=OPEN), output={"http-post": {"url": "http://10.1.2.3/x"}}).blockers


@pytest.mark.parametrize(
    ("host", "as_taken"), [("2130706434", "127.0.0.2"), ("10.1", "10.0.0.1"), ("10.0.0.1.", "10.0.0.1")]
)
def test_the_way_to_open_an_address_is_told_as_the_setting_takes_it(host: str, as_taken: str) -> None:
    (one,) = told(candidates(a=SHUT), output={"http-post": {"url": f"http://{host}/x"}}).blockers
    assert f"SLUICE_EGRESS_ALLOW={as_taken})" in one.hint
    assert addresses.allowed_networks([as_taken])


def test_the_address_of_a_call_in_the_middle_of_a_job_is_looked_at() -> None:
    document = {
        "name": "one",
        "input": {"echo": {"event": "x"}},
        "actions": [{"http": {"url": "http://192.168.1.2/${_raw}"}}],
        "output": {"discard": {}},
    }
    found = closed.of_checked("one", "etl", compiler.check_job(document), lambda group: candidates(a=OPEN))
    (one,) = found.blockers
    assert "/actions/0/http/url" in one.message and "192.168.1.2" in one.message


def test_a_host_that_is_filled_in_later_is_unknown_until_it_runs() -> None:
    found = told(candidates(a=SHUT), output={"http-post": {"url": "http://${host}/x"}})
    assert [one.code for one in found.warnings] == ["unknown_until_run"] and not found.blockers
    assert "/output/http-post/url" in found.warnings[0].message


def test_places_to_listen_at_and_to_connect_to_are_looked_at() -> None:
    blocked = told(candidates(a=SHUT), input={"tcp": {"address": "10.0.0.5:9000"}}).blockers
    assert "SLUICE_LISTEN_ALLOW=10.0.0.5" in blocked[0].hint
    assert not told(candidates(a=SHUT), input={"tcp": {"address": "127.0.0.1:9000"}}).blockers
    port = told(candidates(a=SHUT), input={"udp": {"address": "127.0.0.1:3000"}}).blockers[0]
    assert "closed_ports" in port.hint
    away = told(candidates(a=SHUT), input={"tcp": {"connect": "10.0.0.5:1"}}).blockers[0]
    assert "SLUICE_EGRESS_ALLOW=10.0.0.5" in away.hint


def test_a_path_that_some_workers_open_is_a_warning() -> None:
    def at(name: str, *roots: str) -> Candidate:
        policy = FilePolicy(FileMode.TENANT, "/data", tuple(FileRoot(path=root) for root in roots))
        return Candidate(name, False, OPEN, FileRules(policy, "acme"))

    reader = {"files": {"paths": "/srv/in/*.log", "mode": "batch"}}
    found = told([at("a", "/srv/in"), at("b")], input=reader)
    assert [one.code for one in found.warnings] == ["closed_on_some_workers"] and not found.blockers
    assert "lets jobs read /srv/in/*.log; a may, and not b" in found.warnings[0].message
    assert told([at("b")], input=reader) == ([], []), "path_not_allowed tells it"


def test_what_a_token_did_not_grant_is_told_with_the_way_to_grant_it() -> None:
    granted = {"edge-1": frozenset[str](), "edge-2": frozenset({"exec"}), "edge-3": None}
    there = [Candidate(name, True, SHUT, None, can) for name, can in granted.items()]
    (blocker,) = told(there, input=EXEC).blockers
    assert blocker.hint.endswith(
        "Nor did the token of edge-1 grant it; a new one does: sluice worker-token create --name edge-1 --can exec."
    )
