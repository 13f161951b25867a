"""Which paths a tenant may use, by their text alone."""

from __future__ import annotations

import pytest

from core.errors import Forbidden
from core.fileroots import FileMode, FileRoot
from core.guard.filepolicy import SYSTEM_TREES, FilePolicy
from core.guard.pathrules import AnyOf, FileRules
from tests import cases

ROOTS = ("/srv/all", "acme=/srv/acme", "umbra=/srv/all/umbra", "acme=/srv/in:ro", "acme=/srv/in/out")
HOME = "/home/me"
DATA = f"{HOME}/.local/data"


def rules(mode: FileMode = FileMode.TENANT, tenant: str = "acme", *roots: str) -> FileRules:
    opened = tuple(FileRoot.parse(text) for text in roots or ROOTS)
    denied = ("/var/lib/sluice", "/opt/venv", *SYSTEM_TREES)
    return FileRules(FilePolicy(mode, DATA, opened, denied, (HOME,), ("/srv/all/tls.key",)), tenant)


def may(place: FileRules, path: str, *, write: bool = False) -> bool:
    try:
        place.locate(path, write=write)
    except Forbidden:
        return False
    return True


@cases.table(
    ("path", "reads", "writes"),
    [
        ("day/x.log", True, True),
        (".", True, True),
        (f"{DATA}/acme/x", True, True),
        (f"{DATA}/umbra/x", False, False),
        (f"{DATA}/acme2/x", False, False),
        (DATA, False, False),
        ("/srv/all/x", True, True),
        ("/srv/all2/x", False, False),
        ("/srv/all/umbra/x", False, False),
        ("/srv/acme/x", True, True),
        ("/srv/in/x", True, False),
        ("/srv/in/out/x", True, True),
        ("/srv/all/tls.key", False, False),
        ("/srv", False, False),
        ("/", False, False),
        ("/tmp/x", False, False),
        (f"{HOME}/.ssh/id", False, False),
        (f"{HOME}/plain", False, False),
        ("/var/lib/sluice/worker.key", False, False),
        ("/etc/passwd", False, False),
        ("//etc/passwd", False, False),
        ("a/../../umbra/x", False, False),
    ],
)
def test_a_tenant_has_its_data_directory_and_its_file_roots(path: str, reads: bool, writes: bool) -> None:
    assert (may(rules(), path), may(rules(), path, write=True)) == (reads, writes)


@cases.table(("path", "is_open"), [("x", True), ("/srv/all/x", True), (f"{DATA}/acme/x", False), ("/tmp/x", False)])
def test_with_roots_alone_relative_paths_start_at_the_first(path: str, is_open: bool) -> None:
    place = rules(FileMode.ROOTS)
    assert may(place, path) is is_open
    assert place.locate("x") == "/srv/all/x"
    assert rules(FileMode.ROOTS, "acme", "umbra=/srv/umbra", "acme=/srv/acme").locate("x") == "/srv/acme/x"
    with pytest.raises(Forbidden, match="no directory is open to jobs here"):
        rules(FileMode.ROOTS, "acme", "umbra=/srv/umbra").locate("x")


@cases.table(
    ("path", "reads", "writes"),
    [
        ("x", True, True),
        ("/tmp/x", True, True),
        (f"{HOME}/plain", True, True),
        ("/dev/shm/x", True, True),
        ("/srv/in/x", True, False),
        ("/srv/all/umbra/x", False, False),
        (f"{DATA}/umbra/x", False, False),
        (f"{HOME}/.ssh/id", False, False),
        (f"{HOME}/.netrc", False, False),
        ("/var/lib/sluice/sluice.db", False, False),
        ("/opt/venv/lib/python3/site-packages/x.pth", False, False),
        ("/srv/all/tls.key", False, False),
        *((f"{tree}/x", False, False) for tree in SYSTEM_TREES),
    ],
)
def test_anywhere_still_leaves_out_what_no_job_may_enter(path: str, reads: bool, writes: bool) -> None:
    place = rules(FileMode.ANYWHERE)
    assert (may(place, path), may(place, path, write=True)) == (reads, writes)


def test_without_a_policy_nothing_is_open() -> None:
    place = FileRules(FilePolicy(), "acme")
    assert not any(may(place, path) for path in ("x", "/x", "/tmp/x", "/"))


def test_a_refusal_says_what_is_open_and_who_opens_more() -> None:
    with pytest.raises(Forbidden, match="outside of where jobs of the tenant acme may read and write") as refused:
        rules().locate("/data/x")
    assert f"{DATA}/acme" in refused.value.hint
    assert "/srv/acme" in refused.value.hint
    assert "umbra" not in refused.value.hint
    assert "whoever runs the worker: --file-root acme=/PATH (setting file_roots)" in refused.value.hint


def test_where_a_job_may_come_to_several_machines_one_that_allows_it_will_do() -> None:
    several = AnyOf([rules(FileMode.TENANT, "acme", "/a"), rules(FileMode.TENANT, "acme", "/b")])
    assert several.locate("/b/x") == "/b/x"
    with pytest.raises(Forbidden, match="outside"):
        several.locate("/c/x")
