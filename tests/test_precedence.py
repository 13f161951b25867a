"""Which word about a setting counts, and that a shell has no say in what an engine of others does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from core import precedence, settingsfile
from core.guard import filepolicy, openings
from core.settings import Settings

TEXT = """\
workers = 4
drain_seconds = 1
egress_allow = ["10.0.0.5"]
file_roots = ["/srv/in:ro", "etl:/srv/prefixed"]
[serve]
port = 8080
host = "127.0.0.2"
[group.etl]
allow_exec = true
egress_allow = ["10.2.0.1"]
file_roots = ["/srv/etl"]
worker_memory_mb = 512
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("SLUICE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path))
    write(tmp_path, TEXT)
    return tmp_path


def write(home: Path, text: str) -> None:
    (home / settingsfile.NAME).write_text(text, encoding="utf-8")
    (home / settingsfile.NAME).chmod(0o600)


def origin(settings: Settings, name: str) -> tuple[str, str]:
    found = settings.origin(name)
    return found.source, found.where.removeprefix(f"{settings.home}/")


def test_a_flag_goes_before_the_environment_before_the_file_before_the_default(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_DRAIN_SECONDS", "2")
    monkeypatch.setenv("SLUICE_WORKERS", "7")
    told = precedence.of_operator({"workers": "9", "nats": None}, {"port": 1, "host": None})
    assert (told.workers, told.drain_seconds, told.egress_allow, told.worker_slots) == (9, 2, ("10.0.0.5",), 64)
    assert told.serve is not None
    assert (told.serve.port, told.serve.host, told.serve.auth) == (1, "127.0.0.2", "token")
    assert [origin(told, name) for name in ("workers", "drain_seconds", "egress_allow", "worker_slots")] == [
        ("flag", ""),
        ("environment", "SLUICE_DRAIN_SECONDS"),
        ("file", "sluice.toml:3"),
        ("default", ""),
    ]
    assert [origin(told, name)[0] for name in ("serve.port", "serve.host", "serve.auth")] == ["flag", "file", "default"]
    assert precedence.of_operator({}, {}).workers == 7
    write(home, "")
    monkeypatch.delenv("SLUICE_WORKERS")
    assert [precedence.of_operator({}, serve).workers for serve in ({}, None)] == [precedence.SERVE_WORKERS, 1]


def test_the_settings_of_a_home_are_the_same_in_every_shell(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = precedence.of_home(home)
    for name, value in {"WORKERS": "0", "EGRESS_ALLOW": "0.0.0.0/0", "ALLOW_EXEC": "1", "GROUP": "x"}.items():
        monkeypatch.setenv(f"SLUICE_{name}", value)
    assert precedence.of_home(home) == before
    assert (before.workers, before.allow_exec, before.serve) == (4, False, None)
    assert precedence.unheeded() == ["SLUICE_ALLOW_EXEC", "SLUICE_EGRESS_ALLOW", "SLUICE_WORKERS"]
    monkeypatch.setenv("SLUICE_LOG_LEVEL", "debug")
    assert (precedence.of_home(home).log_level, precedence.of_visitor(None).log_level) == ("debug", "debug")


def test_a_group_has_what_its_table_says_in_place_of_what_is_said_for_all(home: Path) -> None:
    told = precedence.of_operator({})
    etl, other = told.of_group("etl"), told.of_group("other")
    assert openings.of(etl).exec
    assert not openings.of(other).exec
    assert (openings.of(etl).egress, openings.of(other).egress) == (("10.2.0.1",), ("10.0.0.5",))
    assert ([root.path for root in filepolicy.of(etl).roots], etl.worker_memory_mb) == (["/srv/etl"], 512)
    assert [root.path for root in filepolicy.of(other).roots] == ["/srv/in"]
    assert [one.allow_exec for one in told.each()] == [False, True]


def test_no_job_opens_the_file_wherever_it_lies_nor_the_keys_that_it_names(home: Path, tmp_path: Path) -> None:
    kept = tmp_path / "elsewhere.toml"
    (home / settingsfile.NAME).rename(kept)
    (home / settingsfile.NAME).symlink_to(kept)
    kept.write_text(kept.read_text().replace("[serve]", "[serve]\ntls_key = 'the.key'"))
    for settings in (precedence.of_home(home), precedence.of_operator({}, {}).of_group("etl")):
        assert {str(kept), str(home / "the.key")} <= set(filepolicy.of(settings).private)


def test_a_variable_stands_above_the_tables_of_groups_as_well(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_EGRESS_ALLOW", "10.9.9.9")
    told = precedence.of_operator({})
    assert told.of_group("etl").egress_allow == ("10.9.9.9",)
    assert told.of_group("etl").allow_exec
    assert origin(told, "group.etl.egress_allow")[0] == "default"


def test_what_a_restart_would_change_is_the_file_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_DRAIN_SECONDS", "2")
    running = precedence.of_operator({"workers": "default=1,etl=1"}, {"port": 1})
    monkeypatch.delenv("SLUICE_DRAIN_SECONDS")
    monkeypatch.setenv("SLUICE_EGRESS_ALLOW", "10.9.9.9")
    assert precedence.after_restart(running, settingsfile.of_home(home)) == running
    write(home, 'workers = 9\ndrain_seconds = 9\nworker_slots = 3\n[serve]\nport = 9\nhost = "127.0.0.3"\n')
    later = precedence.after_restart(running, settingsfile.of_home(home))

    def values(one: Settings) -> dict[str, Any]:
        return one.model_dump(include={"workers", "drain_seconds", "worker_slots", "egress_allow", "serve"})

    assert values(later) == values(running) | {
        "worker_slots": 3,
        "egress_allow": (),
        "serve": values(running)["serve"] | {"host": "127.0.0.3"},
    }


def test_a_list_of_a_variable_may_have_blanks_around_its_commas(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_EGRESS_ALLOW", " 10.0.0.5, 10.0.0.6 ,")
    assert precedence.of_operator({"home": home}).egress_allow == ("10.0.0.5", "10.0.0.6")
