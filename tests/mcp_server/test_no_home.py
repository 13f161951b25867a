"""Commands where no home is: who only reads makes none and says so, and what needs none is answered all the same."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import pytest

from core import errors, homes
from core.settings import Settings
from mcp_server import attach
from mcp_server.cli import codes, connect, main
from tests.engines import served


@pytest.mark.parametrize(
    "words", [["status"], ["job", "list"], ["token", "list"], ["invocation", "list"], ["explain", "job", "x"]]
)
def test_a_command_that_reads_makes_no_home(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([*words, "--home", str(tmp_path / "typo")]) == codes.NO_ENGINE
    said = capsys.readouterr().err
    assert f"There is no home at {tmp_path / 'typo'}" in said and "sluice serve" in said
    assert list(tmp_path.iterdir()) == []


def test_a_directory_without_a_home_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sluice.toml").write_text("workers = 1\n")
    (tmp_path / "sluice.toml").chmod(0o600)
    assert main.run(["status", "--home", str(tmp_path)]) == codes.NO_ENGINE
    assert [path.name for path in tmp_path.iterdir()] == ["sluice.toml"]
    capsys.readouterr()
    assert main.run(["settings", "--home", str(tmp_path), "--json"]) == 0
    told = {one["name"]: one for one in json.loads(capsys.readouterr().out)["items"]}
    assert told["workers"]["value"] == 1 and told["workers"]["where"].endswith("sluice.toml:1")
    assert [path.name for path in tmp_path.iterdir()] == ["sluice.toml"]


def test_what_needs_no_home_is_answered_without_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "job.yaml"
    document.write_text("input: {type: generate}\n")
    main.run(["job", "validate", str(document), "--home", str(tmp_path / "none")])
    assert "There is no home" not in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["job.yaml"]


def test_what_is_kept_begins_a_home_and_is_there_afterwards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(tmp_path / "home")
    assert main.run(["token", "create", "--username", "ci", "--home", place]) == 0
    assert homes.begun(tmp_path / "home")
    capsys.readouterr()
    assert main.run(["token", "list", "--home", place, "--json"]) == 0
    assert [one["username"] for one in json.loads(capsys.readouterr().out)["items"]] == ["ci"]


def test_a_home_whose_database_is_gone_is_still_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "engine.lock").write_text("12\nsome-id\n")
    assert homes.begun(tmp_path)
    tmp_path.chmod(0o700)
    assert main.run(["status", "--home", str(tmp_path)]) == codes.FAILED
    assert "has been used, and its database sluice.db is gone" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, unknown", [('workers = "default=2,etl=1"\n[group.etl]\nallow_exec = true\n', []),
                      ('[group.elt]\nallow_exec = true\n', ["elt"])]
)  # fmt: skip
@pytest.mark.parametrize("used", [False, True])
def test_settings_without_an_engine_are_those_of_serve_in_this_shell(
    tmp_path: Path,
    text: str,
    unknown: list[str],
    used: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path / "home"
    place.mkdir(mode=0o700)
    if used:
        assert main.run(["token", "create", "--username", "ci", "--home", str(place)]) == 0
    (place / "sluice.toml").write_text(text)
    (place / "sluice.toml").chmod(0o600)
    monkeypatch.setenv("SLUICE_PORT", "5499")
    capsys.readouterr()
    assert main.run(["settings", "--home", str(place), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["unknown_groups"] == unknown and not told["running"]
    port = next(one for one in told["items"] if one["name"] == "serve.port")
    assert (port["value"], port["source"], port["where"]) == (5499, "environment", "SLUICE_PORT")


@pytest.mark.anyio
async def test_who_was_attached_begins_no_home_where_one_was(tmp_path: Path) -> None:
    place = tmp_path / "home"
    with contextlib.ExitStack() as stack:
        await asyncio.to_thread(stack.enter_context, served(place))
        async with attach.open_session(Settings(home=place), serve_workers=0) as session:
            assert not session.owner
            place.rename(tmp_path / "elsewhere")
            await asyncio.to_thread(stack.close)
            with pytest.raises(errors.StorageUnavailable, match="is not there any more"):
                await session.call("whoami", {}, connect.local_caller())
    assert not place.exists()
