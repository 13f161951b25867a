"""The unit file: systemd takes it, its words mean what they say, and workers have their sandbox under its filter."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from mcp_server.cli import stage
from mcp_server.service import quoting, unit
from tests import waiting

ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(
    ANALYZE is None or not (os.geteuid() == 0 or Path("/run/systemd").is_dir()),
    reason="systemd-analyze is not installed, or there is no /run/systemd, which only root can make",
)
ODD = Path("/srv/a b/%h$HOME\"q'\\")


def wish(**changes: object) -> unit.Wish:
    home = Path("/var/lib/sluice")
    given = {"program": Path(stage.program("sluice")), "home": home, "data_root": Path("/var/lib/sluice-data")}
    return unit.Wish(**{**given, "account": "sluice", **changes})  # type: ignore[arg-type]


def analyze(tmp_path: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    file = tmp_path / "sluice.service"
    file.write_text(text)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    return subprocess.run([ANALYZE, *words, str(file)], capture_output=True, text=True, env=environment)


@needs_systemd
@pytest.mark.parametrize("manager", ["--system", "--user"])
def test_systemd_has_nothing_against_it(tmp_path: Path, manager: str) -> None:
    account = "root" if manager == "--system" else None  # the account of a real one need not be here
    text = unit.text(wish(account=account, writable=(ODD,), flags=("--file-root", f"acme={ODD}")))
    done = analyze(tmp_path, text, manager, "verify")
    ours = [line for line in done.stderr.splitlines() if "sluice.service" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


@needs_systemd
def test_its_exposure_is_ok(tmp_path: Path) -> None:
    done = analyze(tmp_path, unit.text(wish()), "security", "--offline=true", "--no-pager")
    found = re.search(r"Overall exposure level for sluice.service: (\d+\.\d)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= 2.0, done.stdout


def read(text: str, *, command: bool = False) -> list[str]:
    """The words of a setting, as systemd.syntax(7) reads them; a specifier but `%%`, a variable but `$$` is a fault."""
    words: list[str] = []
    for index, match in enumerate(re.finditer(r'"((?:[^"\\]|\\.)*)"|(\S+)', text)):
        word = re.sub(r"\\(.)", r"\1", match[1] if match[1] is not None else match[2])
        assert not re.search(r"%", word.replace("%%", "")), "a specifier"
        word = word.replace("%%", "%")
        if command and index:
            assert "$" not in word.replace("$$", ""), "a variable"
            word = word.replace("$$", "$")
        words.append(word)
    return words


@given(st.lists(st.text(st.characters(categories=("L", "N", "P", "S", "Zs"))).filter(str.isprintable), min_size=1))
def test_each_word_comes_out_as_it_went_in(words: list[str]) -> None:
    assert read(quoting.command(words), command=True) == words
    assert read(" ".join(map(quoting.word, words))) == words


@pytest.mark.parametrize("path", ["/srv/a\nExecStartPre=/bin/evil", "/srv/\x00", "/srv/\x1b[2J", "/srv/\u202e"])
def test_what_would_begin_a_line_of_its_own_is_refused(path: str) -> None:
    with pytest.raises(errors.InvalidParams, match="cannot hold"):
        unit.text(wish(home=Path(path)))


def test_what_it_writes_is_open_and_what_systemd_makes_is_not_named_twice() -> None:
    program = Path("/opt/sluice/bin/sluice")  # not below a home, wherever these tests are
    lines = unit.text(wish(writable=(Path("/srv/in"),), program=program)).splitlines()
    assert {"StateDirectory=sluice sluice-data", "ReadWritePaths=/srv/in", "ProtectHome=yes"} <= set(lines)
    below = Path("/home") / "ada" / "h"
    lines = unit.text(wish(home=below, data_root=Path("/var/lib/a:b"))).splitlines()
    assert {f"ReadWritePaths={below} /var/lib/a:b", "ProtectHome=read-only"} <= set(lines)
    assert not [line for line in lines if line.startswith("StateDirectory=")]
    assert not [line for line in unit.text(wish(account=None)).splitlines() if line.startswith(("Protect", "User"))]


def allowed() -> set[str]:
    """The calls that the unit allows, as this systemd knows them."""

    def members(group: str) -> set[str]:
        said = subprocess.run([str(ANALYZE), "syscall-filter", group], capture_output=True, text=True).stdout
        names = {line.strip() for line in said.splitlines() if line.startswith("    ") and "#" not in line}
        return set().union(*(members(name) if name.startswith("@") else {name} for name in names))

    def calls(names: tuple[str, ...]) -> set[str]:
        return set().union(*(members(name) if name.startswith("@") else {name} for name in names))

    return calls(unit.CALLS) - calls(unit.DENIED_CALLS)


@needs_systemd
@pytest.mark.anyio
async def test_under_its_filter_workers_have_the_same_sandbox_as_without(tmp_path: Path) -> None:
    if find_library("seccomp") is None:
        pytest.skip("libseccomp is not installed")
    filter = tmp_path / "filter"
    names = allowed()
    assert {"read", "landlock_restrict_self", "seccomp", "prlimit64"} <= names and "mount" not in names
    filter.write_text("\n".join(sorted(names)))
    found = []
    for name, before in (
        ("free", []),
        ("shut", [sys.executable, str(Path(__file__).with_name("filtered.py")), filter]),
    ):
        found.append(await _sandbox_of_a_worker(tmp_path / name, [str(word) for word in before]))
    assert found[0] == found[1]
    assert found[1].startswith(("full", "partial"))


async def _sandbox_of_a_worker(folder: Path, before: list[str]) -> str:
    """What a worker of an engine says of its sandbox, started by a command that begins so."""
    await anyio.Path(folder).mkdir()
    command = [
        *before,
        stage.program("sluice"),
        "serve",
        "--home",
        str(folder / "home"),
        "--port",
        "0",
        "--workers",
        "1",
    ]
    with (folder / "log").open("wb") as log:
        process = await anyio.open_process(command, stdout=log, stderr=log, env=stage.environment())
    try:

        def url() -> str:
            assert process.returncode is None, waiting.lines(folder / "log")
            said = [line for line in waiting.lines(folder / "log") if line.startswith(stage.LISTENS)]
            return said[0].split()[3] if said else ""

        at = await waiting.until(url)
        token = (folder / "home" / "admin.token").read_text().strip()
        async with httpx.AsyncClient(base_url=at, trust_env=False) as client:

            async def sandbox() -> str:
                answer = await client.get("/api/workers", headers={"authorization": f"Bearer {token}"})
                return str(answer.json()["items"][0]["sandbox"])

            return await waiting.until(sandbox)
    finally:
        with anyio.CancelScope(shield=True):
            process.terminate()
            await process.aclose()
