"""A real `sluice serve` in a process of its own, and the pages of its console in a real browser."""

from __future__ import annotations

import dataclasses
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
from mcp_server.http import admission

START_SECONDS = 120.0  # deadlines are far more than anything takes, also on a machine that does much else
WAIT_MS = 60_000
DEFAULT = "default"
OURS = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}  # as a browser says it of a page of the console
EMPTY = "/console/empty"  # where a page waits for the next visitor; answered by the test, with nothing
ALIKE = {"cross-origin-opener-policy": "same-origin"}  # as the console has it: another policy takes another process
_LINK = re.compile(r"Console (\S+)/console/#code=(\w+)")


@dataclass
class Served:
    """One engine with its home; `url` is where it listens, `link` opens its console once.

    Calls and addresses are those of `tenant`.
    """

    home: Path
    workers: int = 1
    tenant: str = DEFAULT
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

    def of(self, tenant: str) -> Served:
        """The same engine, as another tenant sees it."""
        return dataclasses.replace(self, tenant=tenant)

    @property
    def console(self) -> str:
        """Where the pages of the tenant begin."""
        return f"{self.url}/console/" + ("" if self.tenant == DEFAULT else f"t/{self.tenant}/")

    def call(self, operation: str, /, **arguments: Any) -> dict[str, Any]:
        """Do an operation as the administrator."""
        answer = httpx.post(
            f"{self.url}/api/operations/{operation}",
            json=arguments,
            headers={"authorization": f"Bearer {self.token}", "x-sluice-tenant": self.tenant},
            timeout=60,
            trust_env=False,
        )
        assert answer.is_success, answer.text
        return dict(answer.json())

    def stop_all(self) -> None:
        """Take away what the tenant runs, for the room on the worker and its processor time."""
        running = self.call("workload_list")["items"]
        for name in {row["deployment"] for row in running if row["deployment"]}:
            plan = self.call("deployment_plan", name=name, remove=True)
            self.call("deployment_apply", plan_id=plan["plan_id"], wait_seconds=0)
        for name in {row["job"] for row in running if not row["deployment"]}:
            self.call("job_undeploy", name=name)

    def new_link(self) -> str:
        """Another link into the console."""
        return self.url + str(self.call("console_link_create")["path"])

    def new_cookie(self) -> dict[str, str]:
        """The cookie of another session of the administrator, as a browser gets it that signs in."""
        answer = httpx.post(self.url + admission.SIGN_IN, json={"token": self.token}, headers=OURS, trust_env=False)
        assert answer.is_success, answer.text
        ((name, value),) = answer.cookies.items()
        return {"name": name, "value": value, "url": self.url, "sameSite": "Strict"}


@contextmanager
def serving(place: Path, workers: int = 1) -> Iterator[Served]:
    """An engine on a fresh home; it is ended at the end."""
    place.mkdir(mode=0o700, exist_ok=True)
    made = Served(place / "home", workers)
    try:
        made.start()
        yield made
    finally:
        made.end()


@dataclass
class Visitor:
    """A page of a browser that knows nothing of the pages before it; what it complains of fails the test."""

    served: Served
    page: Any
    faults: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        """Open an address of the tenant's console."""
        self.page.goto(self.served.console + path)

    def sign_in(self) -> None:
        """Be the administrator from now on; how people sign in is tested by test_signing_in."""
        self.page.context.add_cookies([self.served.new_cookie()])

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
def visiting(
    browser: Any, served: Served, *, expects: tuple[str, ...] = (), keep: bool = True, **options: Any
) -> Iterator[Visitor]:
    """A visitor who is not signed in yet. `expects` are parts of complaints that the test provokes, `options` are of
    the page: its `viewport`, `color_scheme` and `reduced_motion`. Without `keep` no later visitor gets the page."""
    size = options.pop("viewport", {"width": 1280, "height": 800})
    media = {"color_scheme": "light", "reduced_motion": "reduce", **options}
    # All visitors share one context and, one after the other, one page: a process for a new page and what Chromium
    # makes of the files of the console in it are most of the work of a visit. What the one before left is cleared.
    context = browser.contexts[0] if browser.contexts else browser.new_context(ignore_https_errors=True)
    chromium = browser.browser_type.name == "chromium"
    page = context.pages[0] if context.pages else context.new_page()
    if chromium:
        session = context.new_cdp_session(page)
        session.send("Storage.clearDataForOrigin", {"origin": served.url, "storageTypes": "all"})
        session.detach()
    context.clear_cookies()
    page.set_default_timeout(WAIT_MS)
    page.set_viewport_size(size)
    page.emulate_media(**media)
    visitor = Visitor(served, page)

    def complained(text: str) -> None:
        if not any(part in text for part in expects):
            visitor.faults.append(text)

    heard = {
        "console": lambda message: complained(message.text) if message.type == "error" else None,
        "pageerror": lambda error: complained(str(error)),
    }
    for event, hear in heard.items():
        page.on(event, hear)
    kept = False
    try:
        yield visitor
        assert not visitor.faults, visitor.faults
        kept = keep and chromium
    finally:
        for one in context.pages[kept:]:
            one.close()
        if not chromium:
            context.close()
    if kept:
        for event, hear in heard.items():
            page.remove_listener(event, hear)
        page.unroute_all(behavior="ignoreErrors")
        page.route(served.url + EMPTY, lambda route: route.fulfill(headers=ALIKE))
        page.goto(served.url + EMPTY)
        page.evaluate("sessionStorage.clear()")
        page.unroute_all()
