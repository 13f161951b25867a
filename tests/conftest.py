"""Fixtures that every test may use."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

from tests import figures, forkserver, order, quick

HOMES = "SLUICE_TEST_HOMES"  # the variable that names where tests have the homes of their engines (engines.engine_on)
# How long one example takes says nothing: tests run side by side, on machines of any speed.
hypothesis.settings.register_profile("any machine", deadline=None, max_examples=40)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=1000)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=20)
hypothesis.settings.load_profile(os.environ.get("SLUICE_PROPERTIES", "any machine"))

# A shell starts what it runs in the background with SIGINT ignored, and commands that tests interrupt would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


_reporter: list[pytest.TerminalReporter] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="only files that start nothing: see tests/quick.py")
    parser.addoption(
        "--near", metavar="REVISION", help="first the tests nearest to what changed since: see tests/order.py"
    )
    parser.addoption("--shuffle", metavar="SEED", help="files, and tests within files, in a random order")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--quick"):
        hypothesis.settings.load_profile("quick")


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):  # the process that reports
        _reporter.append(session.config.pluginmanager.get_plugin("terminalreporter"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if config.getoption("--quick") and collection_path.name.startswith("test_") and quick.starts(collection_path):
        return True
    return None


def pytest_xdist_auto_num_workers() -> int:
    """Tests wait for processes, disks and clocks for half of their time, which more of them than cores fill."""
    cores = len(os.sched_getaffinity(0))
    return cores + max(2, cores // 2)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    order.arrange(items, near=config.getoption("--near"), shuffle=config.getoption("--shuffle"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print a failure when it happens, not at the end of the run."""
    if report.failed and _reporter:
        _reporter[0].write_line(f"\nFAILED {report.nodeid} ({report.when}, {report.duration:.1f} s)", red=True)
        _reporter[0].write_line(report.longreprtext)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if os.geteuid() != 0 and item.get_closest_marker("root") is not None:
        pytest.skip("only root can try this")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Processes of Sluice come from a fork server, those of the fixtures of a module too, but where that would hide
    something."""
    with forkserver.install() if item.get_closest_marker("fresh") is None else contextlib.nullcontext():
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    outcomes = ("passed", "failed")
    calls = [report for each in outcomes for report in terminalreporter.getreports(each) if report.when == "call"]
    for line in figures.table(calls):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def _homes() -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="sluice-homes-", ignore_cleanup_errors=True) as place:
        Path(place).chmod(0o755)  # for tests that go on as another user
        os.environ[HOMES] = place
        yield
        del os.environ[HOMES]


@pytest.fixture(scope="session")
def console_files() -> None:
    """The console, the viewer of the API and the pages of MCP Apps are built; one of all test processes does it."""
    script = Path(__file__).parents[1] / "packaging" / "console.py"
    done = subprocess.run([sys.executable, script], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(autouse=True)
def _answers() -> Iterator[None]:
    """No engine answers with anything else than it says (tests/answers.py)."""
    yield
    checks = sys.modules.get("tests.answers")  # of tests that start engines
    wrong = [] if checks is None else checks.WRONG[:]
    if checks is not None:
        checks.WRONG.clear()
    assert not wrong, "\n".join(dict.fromkeys(wrong))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """Commands that run in the process of the tests set up its logs and output; the next test finds neither."""
    yield
    if (render := sys.modules.get("mcp_server.cli.render")) is not None:
        render.choose("table")
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
