"""Processes of Sluice without the seconds that each takes to import its code: one that has it becomes each by a fork.

`install` has every start of `sluice`, `sluice-mcp` and of Python with a module or code of ours go this way, by
subprocess, asyncio or anyio. The process is otherwise what it would be: a child of whoever starts it, with its own
arguments (also in /proc), environment, directory, files, session and exit code; an engine starts its workers alike.
What a process can only get from an exec (a locale, variables of Python, a function before it) is started by one.
Tests of how a program starts have the mark `fresh`. The processes of pytest-xdist are forked too, with all test files
imported (`collect`).
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import io
import itertools
import os
import re
import resource
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import msgspec

ROOT = str(Path(__file__).parents[1])
PACKAGES = ("core.backup.", "core.worker.", "mcp_server.", "tests.")  # confined ones have to inherit their sandbox
PROGRAMS = {"sluice": "main", "sluice-mcp": "main_mcp"}  # of mcp_server.cli.main
GATEWAY = ["-u", "-c", "import sys;exec(eval(sys.stdin.readline()))"]  # how execnet starts a process of xdist
STARTERS = {"demo", "job", "mcp", "serve", "worker", "workflow"}  # commands of sluice that may start processes
WORKER = ("core.worker.__main__", "core.worker.trace", "core.dsl.component")
DOORS = ("main", "commands", "connect", "failures", "mcp", "serve")
EVERYTHING = (
    *WORKER,
    *("core.engine", "core.operations", "mcp_server.http.app", "mcp_server.protocol", "mcp_server.server"),
    *(f"mcp_server.cli.{name}" for name in DOORS),
    *("anyio._backends._asyncio", "cyclopts.help", "uvicorn.lifespan.on", "uvicorn.protocols.http.auto"),
)
LOCALE = ("LANG", "LC_")  # beginnings of variables that count from the first instruction on
EARLY = ("LD_", "PYTHON", "TZ")
COERCED = {"LC_CTYPE": "C.UTF-8"}  # what an interpreter sets that finds no locale (PEP 538)
LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
_CODE = re.compile(r"\b(?:core|mcp_server|tests)\b")
_FRESH = re.compile(r"sys\.modules|forkserver\.main")  # asks what is imported, or is the server itself
_LARGEST = 160 * 1024
UNFLUSHED = 120  # the exit code of Python whose output cannot be written
_CLONE = {"x86_64": 56, "aarch64": 220}.get(os.uname().machine)  # the system call clone(2)
_CLONE_PARENT = 0x8000
_TITLE = "-" * 4000  # room for the arguments of what the process becomes
_exec = subprocess._fork_exec  # type: ignore[attr-defined]
_libc = ctypes.PyDLL(None, use_errno=True)


class _Start(msgspec.Struct):
    """What a process is to be; its open files come beside it, in the order of `files`."""

    arguments: list[str]
    environment: dict[str, str]
    directory: str
    files: list[int]
    """The numbers that they are to have; 0 to 2 among them."""
    session: bool
    limits: list[tuple[int, int]]
    """Of resources, in the order of LIMITS."""


class Server:
    """The process that forks. Safe in several threads; ends when the process that has it ends."""

    def __init__(self, load: str, names: Iterable[str]) -> None:
        """`load` is the function of a module of the tests that imports what is named."""
        self._load, self._names = load, tuple(names)
        self._lock = threading.Lock()
        self._line: socket.socket | None = None

    def fork(self, start: _Start, files: list[int]) -> int:
        """The process id of a new child of this process."""
        with self._lock:
            if self._line is None:
                self._line = self._begin()
            socket.send_fds(self._line, [msgspec.json.encode(start)], files)
            return int(self._line.recv(_LARGEST))

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            module = self._load.partition(".")[0]
            imports = f"import sys; sys.path.insert(0, {ROOT!r}); from tests import forkserver, {module}"
            words = f"{imports}; forkserver.main({self._load})"
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", words, str(theirs.fileno()), *self._names, _TITLE],
                pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stdout=2, env=_born,
            )  # fmt: skip
        assert ours.recv(_LARGEST) == b"ready"

        def end() -> None:
            ours.close()
            process.wait(10)

        atexit.register(end)
        return ours


class _Inherited(Server):
    """The one of a process that was forked itself: made before that ran anything, so as clean as its own server."""

    def __init__(self, line: socket.socket) -> None:
        super().__init__("", ())
        self._line = line


_born = dict(os.environ)
_servers: dict[str, Server] = {
    "worker": Server("forkserver.load", WORKER),
    "everything": Server("forkserver.load", EVERYTHING),
}


def collect(files: Iterable[Path]) -> None:
    """Have the processes of pytest-xdist begin with these files imported; call it before they are started."""
    _servers["tests"] = Server("rewriting.load", map(str, files))


@contextlib.contextmanager
def install() -> Iterator[None]:
    """Start processes of Sluice by a fork meanwhile."""
    subprocess._fork_exec, subprocess._USE_POSIX_SPAWN = _fork_exec, False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        subprocess._fork_exec = _exec  # type: ignore[attr-defined]


@contextlib.contextmanager
def beginning_with(variables: Mapping[str, str]) -> Iterator[None]:
    """Have what starts with these variables, LD_PRELOAD among them, come from a server of its own meanwhile."""
    global _born, _servers
    before = _born, _servers
    server = Server("forkserver.load", EVERYTHING)
    _born, _servers = {**_born, **variables}, {"worker": server, "everything": server}
    try:
        yield
    finally:
        _born, _servers = before


def _fork_exec(
    arguments: Any, executables: Any, close: bool, keep: tuple[int, ...], cwd: Any, env: Any, *rest: Any
) -> int:
    """What _posixsubprocess.fork_exec does, which subprocess calls."""
    stdin, _, _, stdout, _, stderr, _, pipe, signals, session, group, gid, gids, uid, umask, before, *_ = rest
    words = [os.fsdecode(word) for word in arguments]
    kind = _kind(words)
    environment = dict(os.environ) if env is None else dict(os.fsdecode(pair).split("=", 1) for pair in env)
    usual = close and signals and (group, gid, gids, uid, umask, before) == (-1, None, None, None, -1, None)
    if kind and usual and _begins_alike(environment):
        files = {number: number for number in keep if number != pipe}
        files |= {0: 0 if stdin == -1 else stdin, 1: 1 if stdout == -1 else stdout, 2: 2 if stderr == -1 else stderr}
        directory = str(Path.cwd()) if cwd is None else os.fsdecode(cwd)
        if Path(directory).is_dir():
            limits = [resource.getrlimit(limit) for limit in LIMITS]
            start = _Start(words, environment, directory, list(files), bool(session), limits)
            return _servers[kind].fork(start, list(files.values()))
    return int(_exec(arguments, executables, close, keep, cwd, env, *rest))


def _kind(words: list[str]) -> str:
    """Which server can become what is started; empty for none."""
    if words == [sys.executable, *GATEWAY] and "tests" in _servers and _CLONE is not None:
        return "tests"
    program = _program(words)
    if _CLONE is None or program is None or words[0] not in {*_own_programs(), sys.executable}:
        return ""
    return "worker" if program[0].startswith("core.worker") else "everything"


def _program(words: list[str]) -> tuple[str, list[str]] | None:
    """The module or script that is run (`-c` for code), and its arguments, of which code is the first."""
    if words[0] in _own_programs():
        return words[0], words[1:]
    rest = words[1:]
    if rest == GATEWAY:
        return "-c", rest[2:]
    while rest[:1] == ["-P"]:
        rest = rest[1:]
    if rest[:1] == ["-m"] and len(rest) > 1 and f"{rest[1]}.".startswith(PACKAGES):
        return rest[1], rest[2:]
    if rest[:1] == ["-c"] and len(rest) > 1 and _CODE.search(rest[1]):
        return ("-c", rest[1:]) if not _FRESH.search(rest[1]) else None
    if rest[:1] and (rest[0] in _own_programs() or _own_script(rest[0])):
        return rest[0], rest[1:]
    return None


def _own_programs() -> set[str]:
    return {str(Path(sys.executable).parent / name) for name in PROGRAMS}


def _own_script(name: str) -> bool:
    return name.endswith(".py") and name.startswith(f"{ROOT}/tests/")


def _begins_alike(environment: dict[str, str]) -> bool:
    """Whether an interpreter with this environment begins as the server did."""
    locale = _those(environment, LOCALE)
    if environment.get("PYTHONPATH") == ROOT != _born.get("PYTHONPATH"):  # the server has it as well
        environment = {key: value for key, value in environment.items() if key != "PYTHONPATH"}
    return _those(environment, EARLY) == _those(_born, EARLY) and locale in ({}, _those(_born, LOCALE))


def _those(environment: dict[str, str], beginnings: tuple[str, ...]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key.startswith(beginnings)}


def load(modules: Iterable[str]) -> None:
    """Import code of the product, and derive what a process derives from it once."""
    for name in modules:
        importlib.import_module(name)
    for component in sys.modules["core.dsl.component"].REGISTRY:  # each is imported
        component.model_rebuild()
    if (operations := sys.modules.get("core.operations")) is not None:
        for operation in operations.REGISTRY:
            _ = operation.schema, operation.result_schema
        sys.modules["sqlite_utils.plugins"].ensure_plugins_loaded()


def main(load: Callable[[Iterable[str]], None]) -> NoReturn:
    """Be the server: load what is named, then fork what is asked for until nobody can ask any more."""
    number = int(sys.argv[1])
    load(sys.argv[2:-1])
    assert len([*Path("/proc/self/task").iterdir()]) == 1, "a fork has one of the threads that an import has started"
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _show(["forkserver"])
    with socket.socket(fileno=number) as line:
        line.send(b"ready")
        start = _serve(line)
    os._exit(_end(start) if start is not None else 0)


def _serve(line: socket.socket) -> _Start | None:
    """Returns in each process that is forked, with what it is to be; None in the server itself, at its end."""
    while True:
        asked, received, _, _ = socket.recv_fds(line, _LARGEST, 64)
        if not asked:
            return None
        start = msgspec.json.decode(asked, type=_Start)
        child = _fork_for_parent()
        if not child:
            line.close()
            _take(start, received)
            return start
        for each in received:
            os.close(each)
        line.send(b"%d" % child)


def _fork_for_parent() -> int:
    """As os.fork, of a process with one thread, but the new process is a child of this one's parent."""
    _libc.PyOS_BeforeFork()
    child = int(_libc.syscall(_CLONE, _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0))
    (_libc.PyOS_AfterFork_Parent if child else _libc.PyOS_AfterFork_Child)()
    assert child >= 0, os.strerror(ctypes.get_errno())
    return child


def _take(start: _Start, received: list[int]) -> None:
    """Have the files, the session, the directory and the environment that were asked for."""
    if start.session:
        os.setsid()
    high = max(start.files) + 1
    moved = [_above(fd, high) for fd in received]
    for number, fd in zip(start.files, moved, strict=True):
        os.dup2(fd, number, inheritable=True)
    _close_all_but(start.files)
    os.chdir(start.directory)
    os.environ.clear()
    os.environ.update(start.environment)
    if not _those(start.environment, LOCALE):
        os.environ.update(COERCED)
    time.tzset()
    tempfile.tempdir = None  # looked for again with these variables
    for limit, values in zip(LIMITS, start.limits, strict=True):
        if resource.getrlimit(limit) != tuple(values):
            resource.setrlimit(limit, values)


def _close_all_but(kept: list[int]) -> None:
    ends = [-1, *sorted(kept), os.sysconf("SC_OPEN_MAX")]
    for low, high in itertools.pairwise(ends):
        if low + 1 < high:
            os.closerange(low + 1, high)


def _above(fd: int, least: int) -> int:
    new = fcntl.fcntl(fd, fcntl.F_DUPFD, least)
    os.close(fd)
    return new


def _end(start: _Start) -> int:
    """Be what was asked for, and end as the interpreter does, but for taking its modules apart: that copies them."""
    status: Any = 1
    interrupted = False
    try:
        status = _run(start)
    except SystemExit as end:
        status = end.code
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        interrupted = isinstance(error, KeyboardInterrupt)
    if status is not None and not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
        _libc.fflush(None)  # what C has written
    except OSError:
        return UNFLUSHED
    if interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return (status or 0) & 0xFF


def _run(start: _Start) -> Any:
    """Be what was asked for, as the interpreter begins it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
    sys.stdin, sys.stdout, sys.stderr = (_text(0), _text(1), _text(2))
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
    sys.orig_argv[:] = start.arguments
    _show(start.arguments)
    program = _program(start.arguments)
    assert program is not None
    name, words = program
    if _starts_others(name, words):
        inherited = _Inherited(_leave_server())
        _servers.update(worker=inherited, everything=inherited)
        subprocess._fork_exec, subprocess._USE_POSIX_SPAWN = _fork_exec, False  # type: ignore[attr-defined]
    sys.argv[:] = [name, *words] if name != "-c" else ["-c", *words[1:]]
    if name in _own_programs():
        from mcp_server.cli import main as commands

        return getattr(commands, PROGRAMS[Path(name).name])()
    if _own_script(name):
        runpy.run_path(name, run_name="__main__")
        return 0
    if "-P" not in start.arguments:
        sys.path.insert(0, "" if name == "-c" else start.directory)
    if name == "-c":
        sys.modules["__main__"] = module = types.ModuleType("__main__")
        exec(compile(words[0], "<string>", "exec"), vars(module))
        return 0
    for loaded in (name, f"{name}.__main__"):
        if loaded.count(".") > 1:  # the module that is run, not its package
            sys.modules.pop(loaded, None)
    runpy.run_module(name, run_name="__main__", alter_sys=True)
    return 0


def _starts_others(name: str, words: list[str]) -> bool:
    """Whether it may start processes of Sluice itself; a command that does all the same starts them by an exec."""
    if Path(name).name == "sluice":
        return bool({*words} & STARTERS)
    return name in _own_programs() or _own_script(name) or name.startswith(("tests.", "-c"))


def _leave_server() -> socket.socket:
    """Fork a server of this process, which is nothing yet."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        return ours
    ours.close()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _show(["forkserver"])
    fd = _above(theirs.detach(), 3)
    _close_all_but([fd])
    with socket.socket(fileno=fd) as line:
        start = _serve(line)
    os._exit(_end(start) if start is not None else 0)


def _text(number: int) -> io.TextIOWrapper:
    """Standard input, output or error, as Python opens them."""
    raw = open(number, "rb" if number == 0 else "wb", closefd=False)
    live = raw.isatty() or number == 2
    coerced = os.environ.get("LC_CTYPE") == COERCED["LC_CTYPE"] and "LANG" not in os.environ
    errors = "backslashreplace" if number == 2 else "surrogateescape" if coerced else "strict"
    return io.TextIOWrapper(raw, encoding=(sys.flags.utf8_mode and "utf-8") or None, errors=errors, line_buffering=live)


def _show(arguments: list[str]) -> None:
    """Have /proc show these arguments, as far as there is room."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc(5), counted from the third field
    text = b"\0".join(map(os.fsencode, arguments))[: end - begin - 1]
    ctypes.memmove(begin, text.ljust(end - begin, b"\0"), end - begin)
