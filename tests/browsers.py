"""A real browser for tests: a Chromium (one named by SLUICE_CHROMIUM, that of Playwright, or one of this machine); with
SLUICE_BROWSER=firefox a Firefox of this machine that speaks WebDriver BiDi.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def launched() -> Iterator[Any]:
    """The browser; skips the test that asks where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    # The driver comes with the package, and not what it is linked to.
    driver = Path(api.__file__).parents[1] / "driver" / "node"
    begun = subprocess.run([driver, "--version"], capture_output=True, text=True)
    if begun.returncode != 0:
        pytest.skip(f"the driver of Playwright does not start here: {begun.stderr.strip()}")
    with api.sync_playwright() as playwright:
        if os.environ.get("SLUICE_BROWSER") == "firefox":
            path = next(filter(None, map(shutil.which, ("firefox", "firefox-esr"))), None)
            if path is None:
                pytest.skip("no Firefox: install one (apt install firefox-esr)")
            browser = playwright.firefox.launch(executable_path=path, channel="moz-firefox")
            try:
                browser.new_context().close()
            except api.Error as error:
                pytest.skip(f"this Firefox is too old for Playwright: {error}")
            yield browser
            browser.close()
            return
        path = _chromium(playwright.chromium.executable_path)
        if path is None:
            pytest.skip("no Chromium: install one, run `playwright install chromium`, or name one in SLUICE_CHROMIUM")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def _chromium(of_playwright: str) -> str | None:
    named = os.environ.get("SLUICE_CHROMIUM")
    if named:
        return named  # if it is not there, the launch says so
    if Path(of_playwright).exists():
        return of_playwright
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
