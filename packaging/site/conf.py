"""How Sphinx makes the pages under docs/ a site: `make site`.

Nothing of it is loaded from elsewhere when it is read, and no script or style stands in a page, so that it is served
under the same policy as the console (docs/decisions/0034). Any warning ends the build: a link that leads nowhere, a
page that no navigation names.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.errors import SphinxError

sys.path.insert(0, str(Path(__file__).parent))
import pictures  # beside this file, which is no package

project = "Sluice"
author = "the authors of Sluice"
version = release = importlib.metadata.version("sluice-mcp")
extensions = ["myst_parser"]
root_doc = "index"
exclude_patterns = ["pictures/*.md", "schemas"]
source_suffix = {".md": "markdown"}
nitpicky = True
highlight_language = "none"

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

html_theme = "furo"
html_title = "Sluice"
html_static_path = ["static"]
html_favicon = "static/icon.svg"
html_css_files = ["site.css"]
html_use_index = False
html_domain_indices = False
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
templates_path = ["templates"]
html_theme_options = {"top_of_page_buttons": []}

# Files of the repository, which are no pages.
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./(?!docs/)|schemas)[^)\s]*\)")
_WITHIN = re.compile(r"<script>|<style| style=\"| on[a-z]+=\"|<[^>]* src=\"(?:https?:)?//")
_CLASSES = {' style="opacity: 50%"': ' class="half"', ' style="display: none;"': ' class="none"'}  # of furo's icons


def _pages_alone(app: Any, name: str, text: list[str]) -> None:
    """Links to files beside docs/ are their words: the site has the pages alone (as mcp_server/manual.py does it)."""
    text[0] = text[0].replace("pictures/README.md", "console.md")
    text[0] = pictures.drawn(text[0])
    if "/" not in name:  # from decisions/, ../ is a page
        text[0] = _OUTSIDE.sub(r"\1", text[0])


def _nothing_within(app: Any, exception: Exception | None) -> None:
    """Take the last styles out of the pages, and fail when one of them holds a script or a style of its own."""
    if exception is not None:
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for style, name in _CLASSES.items():
            text = text.replace(style, name)
        page.write_text(text, encoding="utf-8")
        if found := _WITHIN.search(text):
            raise SphinxError(f"{page.name} holds {text[found.start() : found.start() + 80]!r}; it would not be let in")


def setup(app: Any) -> None:
    """Sphinx calls it."""
    app.connect("source-read", _pages_alone)
    app.connect("build-finished", _nothing_within)
