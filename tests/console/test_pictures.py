"""The pictures of the documents: `make pictures` makes each page of the console anew, light and dark, and a walk.

Chromium writes them as WebP, which is a third of a PNG; docs/pictures/README.md shows them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.console.served import Served, Visitor, serving, visiting
from tests.console.test_every_page import PAGES, furnished

pytestmark = pytest.mark.pictures
PLACE = Path(__file__).parents[2] / "docs" / "pictures"
LOOKS = ("light", "dark")
QUALITIES = (55, 35, 20, 10)  # the first with which a picture is small enough
KIB = 1024
ONE_KIB, ALL_KIB = 60, 2.5 * KIB
HEADER = """# The pages of the console

Made by `make pictures`, light and dark; what can be done on each page says [console.md](../console.md).
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("pictures")) as made:
        yield made


@pytest.fixture(scope="module")
def ids(served: Served) -> dict[str, str]:
    return furnished(served)


def named(path: str) -> str:
    """The name of the picture of an address."""
    return re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-") or "overview"


def keep(visitor: Visitor, name: str) -> None:
    """Leave what is seen in a file, when nothing moves any more."""
    visitor.page.wait_for_function("() => !document.querySelector('.skeleton')")
    session = visitor.page.context.new_cdp_session(visitor.page)
    for quality in QUALITIES:
        answer = session.send("Page.captureScreenshot", {"format": "webp", "quality": quality})
        made = base64.b64decode(answer["data"])
        if len(made) <= ONE_KIB * KIB:
            break
    assert len(made) <= ONE_KIB * KIB, name
    PLACE.mkdir(exist_ok=True)
    (PLACE / f"{name}.webp").write_bytes(made)


def test_every_page_has_its_picture(browser: Any, served: Served, ids: dict[str, str]) -> None:
    shown = [HEADER]
    for look in LOOKS:
        with visiting(browser, served, color_scheme=look, reduced_motion="reduce") as visitor:
            visitor.page.goto(served.new_link())
            visitor.sees("Needs attention")
            for path, text in PAGES.items():
                address = path
                for name, id in ids.items():
                    address = address.replace(name, id)
                visitor.go(address)
                visitor.sees(text, within="main")
                keep(visitor, f"{named(path)}-{look}")
            visitor.page.goto(f"{served.url}/api/docs#/deployments")
            visitor.page.locator(".opblock-tag").first.wait_for(timeout=60_000)
            keep(visitor, f"api-{look}")
    for path in (*PAGES, "api"):
        name = named(path)
        address = "api/docs" if path == "api" else f"console/{path}"
        both = " | ".join(f"![{look}]({name}-{look}.webp)" for look in LOOKS)
        shown.append(f"## /{address}\n\n| light | dark |\n|---|---|\n| {both} |\n")
    (PLACE / "README.md").write_text("\n".join(shown), encoding="utf-8")
    assert len(re.findall(r"\.webp\)", "\n".join(shown))) == len(LOOKS) * (len(PAGES) + 1)


def test_a_minute_in_the_console_has_its_pictures(browser: Any, served: Served, ids: dict[str, str]) -> None:
    with visiting(browser, served, viewport={"width": 960, "height": 600}, reduced_motion="reduce") as visitor:
        page = visitor.page
        page.goto(served.new_link())
        visitor.sees("Needs attention")
        visitor.go("catalog/workflow/quickstart-file-store-roundtrip")
        page.locator(".graph .node", has_text="generate").wait_for()
        keep(visitor, "walk-1")
        visitor.press("Plan and register", "link")
        visitor.fill("Name", "roundtrip")
        visitor.fill("File-store path", "files")
        keep(visitor, "walk-2")
        visitor.press("Plan")
        page.locator(".graph .node.create", has_text="generate").wait_for()
        keep(visitor, "walk-3")
        visitor.press("Apply roundtrip")
        visitor.sees(re.compile("Revision 1"))
        visitor.press(re.compile("Watch"), "link")
        page.locator(".edge-label strong", has_text=re.compile(r"0\.\d/s")).first.wait_for()
        keep(visitor, "walk-4")
        visitor.go("triggers/smoke_trigger")
        visitor.fill("env", "staging")
        keep(visitor, "walk-5")
        visitor.press("Run Smoke trigger")
        visitor.sees("Smoke check passed")
        keep(visitor, "walk-6")
    assert served.call("deployment_get", name="roundtrip")["health"] == "healthy"


def test_the_pictures_are_small() -> None:
    sizes = {file.name: file.stat().st_size / KIB for file in PLACE.glob("*.webp")}
    assert max(sizes.values()) <= ONE_KIB, sizes
    assert sum(sizes.values()) <= ALL_KIB
