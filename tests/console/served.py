"""A real `sluice serve` in a process of its own, and the pages of its console in a real browser."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from mcp_server.cli import stage

START_SECONDS = 40.0
WAIT_MS = 20_000
_LINK = re.compile(r"Console (\S+)/console/#code=(\w+)")


@dataclass
class Served:
    """One engine with its home; `url` is where it listens, `link` opens its console once."""

    home: Path
    workers: int = 1
    url: str = ""
    link: str = ""
    _process: subprocess.Popen[bytes] | None = None

    def start(self, port: int = 0) -> None:
        """Start it and wait until it says where it listens."""
        log = self.home.parent / "serve.log"
        words = [stage.program("sluice"), "serve", "--home", str(self.home), "--port", str(port)]
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [*words, "--workers", str(self.workers)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=stage.environment(),
            )
        deadline = time.monotonic() + START_SECONDS
        while not (found := _LINK.search(log.read_text(encoding="utf-8", errors="replace"))):
            assert self._process.poll() is None and time.monotonic() < deadline, log.read_text(encoding="utf-8")
            self._process_waits()
        self.url, self.link = found[1], f"{found[1]}/console/#code={found[2]}"

    def _process_waits(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(0.05)
        except subprocess.TimeoutExpired:
            pass  # it goes on, as it should

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_SECONDS)

    @property
    def token(self) -> str:
        return (self.home / "admin.token").read_text(encoding="ascii").strip()

    def call(self, operation: str, tenant: str = "default", /, **arguments: Any) -> dict[str, Any]:
        """Do an operation as the administrator."""
        answer = httpx.post(
            f"{self.url}/api/operations/{operation}",
            json=arguments,
            headers={"authorization": f"Bearer {self.token}", "x-sluice-tenant": tenant},
            timeout=60,
            trust_env=False,
        )
        assert answer.is_success, answer.text
        return dict(answer.json())

    def new_link(self) -> str:
        """Another link into the console."""
        return self.url + str(self.call("console_link_create")["path"])


@contextmanager
def serving(place: Path, workers: int = 1) -> Iterator[Served]:
    """An engine on a fresh home; it is ended at the end."""
    place.mkdir(mode=0o700, exist_ok=True)
    made = Served(place / "home", workers)
    made.start()
    try:
        yield made
    finally:
        made.end()


@dataclass
class Visitor:
    """One browser with cookies of its own; what it complains of fails the test."""

    served: Served
    page: Any
    faults: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        """Open an address of the console, below /console/."""
        self.page.goto(f"{self.served.url}/console/{path}")

    def picture(self) -> None:
        """Keep how the page looks, and say what is on it: for whoever reads why a test failed."""
        file = self.served.home.parent / "failed.png"
        self.page.screenshot(path=file)
        print(f"{self.page.url} as in {file}:\n{self.page.inner_text('body')}")

    def sees(self, text: str | re.Pattern[str], within: str = "body") -> Any:
        """Wait until the text is there."""
        found = self.page.locator(within).get_by_text(text).first
        found.wait_for()
        return found

    def press(self, name: str | re.Pattern[str], role: str = "button") -> None:
        self.page.get_by_role(role, name=name).first.click()

    def turn(self, view: str) -> None:
        """See the thing in another way: as a form, as JSON."""
        self.page.get_by_role("radiogroup", name="View").locator("label").get_by_text(view, exact=True).click()

    def fill(self, label: str, text: str) -> None:
        field = self.page.get_by_label(label).first
        if self.page.context.browser.browser_type.name == "chromium":
            field.fill(text)
        else:  # by WebDriver BiDi, fill sets the value and the page does not hear of it
            field.click()
            self.page.keyboard.press("ControlOrMeta+A")
            self.page.keyboard.type(text)


@contextmanager
def visiting(browser: Any, served: Served, *, expects: tuple[str, ...] = (), **options: Any) -> Iterator[Visitor]:
    """A visitor who is not signed in yet. `expects` are parts of complaints that the test provokes."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    visitor = Visitor(served, page)

    def complained(text: str) -> None:
        if not any(part in text for part in expects):
            visitor.faults.append(text)

    page.on("console", lambda message: complained(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complained(str(error)))
    try:
        yield visitor
        assert not visitor.faults, visitor.faults
    finally:
        context.close()
