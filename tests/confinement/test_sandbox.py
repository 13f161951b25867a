"""How far a process is confined, what it tells of that, and what it does when it cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import errors
from core.confinement import landlock, places, sandbox, seccomp
from core.confinement.places import Places

whole = pytest.mark.skipif(bool(sandbox.lacking()), reason=f"this kernel: {', '.join(sandbox.lacking())}")
HEAD = """
import os, sys
from pathlib import Path
from core.confinement import landlock, places, process, sandbox, seccomp
from core.confinement.places import Places
base = Path(sys.argv[1])
"""


def run(program: str, base: Path, code: int = 0) -> str:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", HEAD + program, str(base)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return (done.stdout or done.stderr).strip()


@whole
def test_what_is_open_can_be_used_and_nothing_else(tmp_path: Path) -> None:
    for name in ("read", "write", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    told = run(
        """
given = Places(read=(str(base / "read"),), write=(str(base / "write"),))
print(sandbox.enter("require", given, base / "scratch").state)
print((base / "read/file").read_text(), (base / "write/file").write_text("new"))
for attempt in (lambda: (base / "read/new").write_text(""), lambda: (base / "other/file").read_text(),
                lambda: (base / "new").mkdir(), lambda: os.listdir(base), lambda: (base / "scratch/home/x").mkdir()):
    try:
        attempt()
    except PermissionError:
        print("refused")
import tempfile
with tempfile.TemporaryFile() as stream:
    stream.write(b"x")
print(os.environ["HOME"] == str(base / "scratch/home"), os.listdir(os.environ["HOME"]), tempfile.gettempdir())
""",
        tmp_path,
    )
    lines = ["full", "read 3", *["refused"] * 5, f"True [] {tmp_path}/scratch/tmp"]
    assert told.splitlines() == lines


@whole
def test_a_program_that_is_started_has_fewer_places_than_who_starts_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    told = run(
        """
import subprocess
from core.confinement import starting
sandbox.enter("require", Places(write=(str(base / "one"), str(base / "two"))), base / "scratch")
within = Places(write=(str(base / "one"),))
words = ["/bin/sh", "-c", f"echo x > {base}/one/x && echo one; echo x > {base}/two/x && echo two; exit 3"]
for places in (within, None):
    child = starting.start(words, places, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    print(child.communicate()[0].decode().split(), child.returncode)
(base / "two/y").write_text("")  # this process is left what it has
""",
        tmp_path,
    )
    assert told.splitlines() == ["['one'] 3", "['one', 'two'] 3"]


@whole
def test_a_file_of_the_resolver_that_is_replaced_makes_the_process_outdated(tmp_path: Path) -> None:
    told = run(
        """
places.RESOLVER = (str(base / "conf"), str(base / "none"))
(base / "conf").write_text("1")
(base / "shared").mkdir()
import subprocess
read, write = os.pipe()
other = subprocess.Popen(["/bin/sh", "-c", f"read x; echo 2 > {base}/new && mv {base}/new {base}/conf"], stdin=read)
entered = sandbox.enter("require", Places(), base / "scratch")
print(repr(entered.outdated()), Path(base / "conf").read_text())
os.write(write, b"\\n")
other.wait()
print(entered.outdated() == str(base / "conf"))
""",
        tmp_path,
    )
    assert told.splitlines() == ["'' 1", "True"]


def test_without_a_part_of_the_kernel_it_is_told_as_partial_and_refused_where_it_is_required(tmp_path: Path) -> None:
    without = "landlock.abi = lambda: 0\n"
    assert "no Landlock" in run(without + 'print(sandbox.enter("auto", Places(), base / "s").state)', tmp_path)
    refused = run(without + 'sandbox.enter("require", Places(), base / "s")', tmp_path, code=1)
    assert "this machine lacks: no Landlock" in refused
    elsewhere = 'seccomp._MACHINES = {}\nprint(sandbox.enter("auto", Places(), base / "s").state)'
    assert f"no seccomp on {os.uname().machine}" in run(elsewhere, tmp_path)


@whole
def test_an_older_kernel_is_told_by_what_it_leaves_open(tmp_path: Path) -> None:
    program = 'landlock.abi = lambda: 2\nprint(sandbox.enter("auto", Places(), base / "s").state)\n'
    truncating = (
        'import errno\ntry:\n    os.truncate("/dev/null", 0)\nexcept OSError as e:\n    print(e.errno == errno.EPERM)'
    )
    told = run(program + truncating, tmp_path).splitlines()
    assert told == ["partial: signals are not closed (Landlock 2)", "True"]


def test_a_sandbox_that_is_off_leaves_an_empty_home_and_no_dump(tmp_path: Path) -> None:
    told = run(
        """
import ctypes, resource
print(sandbox.enter("off", Places(), base / "scratch").state, os.environ["HOME"] == str(base / "scratch/home"))
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
(base / "anywhere").write_text("")
""",
        tmp_path,
    )
    assert told.splitlines() == ["off True", "(0, 0) 0"]


def test_an_engine_whose_workers_must_be_confined_says_what_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    sandbox.check("auto")
    with pytest.raises(errors.TargetUnavailable, match="no Landlock"):
        sandbox.check("require")
    monkeypatch.setattr(landlock, "abi", lambda: landlock.SIGNALS_ABI)
    monkeypatch.setattr(seccomp, "supported", lambda: True)
    sandbox.check("require")


def test_a_directory_that_holds_a_closed_one_is_taken_apart(tmp_path: Path) -> None:
    for name in ("a/b/closed", "a/c", "d"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "file").write_text("")
    (tmp_path / "a" / "link").symlink_to("b")
    closed = [str(tmp_path / "a/b/closed")]
    found = {Path(one).relative_to(tmp_path).as_posix() for one in places.outside(str(tmp_path), closed)}
    assert found == {"a/c", "a/file", "d"}
    assert list(places.outside(str(tmp_path / "d"), closed)) == [str(tmp_path / "d")]
    assert list(places.outside(closed[0], closed)) == []
    assert list(places.outside(closed[0] + "/x", closed)) == []
    assert list(places.outside("/", ["/"])) == []


def test_what_is_closed_is_in_no_rule_but_that_of_its_owner(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "state").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    given = Places(everywhere=True, write=(str(home / "state"),), secret=(str(home),))
    opened = [Path(rule.path) for rule in places.rules(given)]
    assert tmp_path / "data" in opened
    assert [path for path in opened if path == home or home in path.parents] == [home / "state"]
    assert not any(path in home.parents for path in opened)
