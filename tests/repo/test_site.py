"""The pages under docs/ as a site: made without a warning, and nothing in it needs more than its policy lets in."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from mcp_server.http import admission, site

ROOT = Path(__file__).parents[2]
KINDS = ("Tutorials", "How-to", "Reference", "Explanation")
ALL = sorted(path.stem for path in (ROOT / "docs").glob("*.md"))
SOME = ("index", "first-trigger", "console", "glossary", "architecture", "decisions/index")
"""The front page, one of each kind and the list of the decisions."""
SECONDS = 300.0


def build(out: Path, pages: Path = ROOT / "docs", *names: str) -> subprocess.CompletedProcess[str]:
    """Read every page, and write those that are named, or all."""
    pytest.importorskip("sphinx", reason="the extra `site` is not installed: uv pip install -e '.[site]'")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    command += ["-c", str(ROOT / "packaging" / "site"), "-d", str(out / "seen"), str(pages), str(out / "site")]
    command += [str(pages / f"{name}.md") for name in names]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.fixture(scope="module", params=["some", pytest.param("all", marks=pytest.mark.soak)])
def names(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The pages to write; `make site` writes all of them as well, for the wheel."""
    return SOME if request.param == "some" else ()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, names: tuple[str, ...]) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = build(out, ROOT / "docs", *names)
    partial = "search index couldn't be loaded"  # which is a warning where not all pages are written
    assert [line for line in done.stderr.splitlines() if partial not in line] == []
    assert names or done.returncode == 0
    return out / "site"


def test_every_page_is_in_the_site_and_can_be_searched(made: Path, names: tuple[str, ...]) -> None:
    pages = names or ALL
    assert [page for page in pages if not (made / f"{page}.html").is_file()] == []
    index = (made / "searchindex.js").read_text(encoding="utf-8")
    assert [page for page in pages if f'"{page}"' not in index] == []
    sides = (made / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'class="caption".*?caption-text">([^<]*)<', sides) == list(KINDS)


def test_nothing_is_loaded_from_elsewhere(made: Path) -> None:
    """Addresses that a reader may follow are no matter; what a browser asks for by itself is of this server."""
    loads = re.compile(
        r"<(?:script|img|iframe|source)[^>]*\ssrc=\"([^\"]*)\"|<link[^>]*\shref=\"([^\"]*)\"|url\(([^)]*)\)"
    )
    for file in [*made.rglob("*.html"), *made.rglob("*.css")]:
        for found in loads.findall(file.read_text(encoding="utf-8")):
            address = "".join(found).strip("\"'")
            assert not address.startswith(("http:", "https:", "//")), f"{file.name} loads {address}"


def test_it_is_served_under_a_policy_without_inline_scripts(made: Path) -> None:
    client = TestClient(_app(made))
    index = client.get("/docs", follow_redirects=True)
    assert (index.status_code, index.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = index.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for page in ("/docs/first-trigger", "/docs/first-trigger.html", "/docs/decisions/index.html"):
        assert client.get(page).status_code == 200
    for address in re.findall(r"(?:src|href)=\"(_static/[^\"?#]+)", index.text):
        assert client.get(f"/docs/{address}").status_code == 200, address
    assert client.get("/docs/../conf.py").status_code == client.get("/docs/nothing").status_code == 404
    assert admission.is_open("/docs/first-trigger.html")


def test_without_the_site_the_page_says_how_to_make_it(tmp_path: Path) -> None:
    answer = TestClient(_app(tmp_path)).get("/docs/")
    assert answer.status_code == 404
    assert "make site" in answer.text


def test_a_broken_link_and_a_page_without_a_place_fail(tmp_path: Path) -> None:
    pages = tmp_path / "docs"
    pages.mkdir()
    (pages / "index.md").write_text("# One\n\n[there](nowhere.md)\n", encoding="utf-8")
    (pages / "lost.md").write_text("# Lost\n", encoding="utf-8")
    done = build(tmp_path, pages)
    assert done.returncode != 0
    assert "nowhere.md" in done.stderr
    assert "lost.md" in done.stderr


def _app(static: Path) -> Starlette:
    return Starlette(routes=site.router(static).routes)
