"""What axe finds on a page, and whether the page is wider than its window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import axe_playwright_python

SCRIPT = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FIND = "(rules) => axe.run(document, {runOnly: rules, resultTypes: ['violations']}).then((found) => found.violations)"
WIDTH = "document.documentElement.scrollWidth"
SETTLED = """() => Promise.all(document.getAnimations()
  .filter((one) => one.effect.getComputedTiming().endTime !== Infinity)
  .map((one) => one.finished.catch(() => null)))"""
"""Transitions, to other colours too, are over."""


def faults(page: Any) -> list[str]:
    """Each rule that the page as it looks now does not keep, and where; that it sticks out."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(SCRIPT)  # not a script of the page, whose policy would not let it in
    page.evaluate(SETTLED)
    found = []
    for one in page.evaluate(FIND, TAGS):
        places = "; ".join(str(node["target"]) + node["failureSummary"][:150] for node in one["nodes"][:3])
        found.append(f"{one['id']}: {places}")
    wide = page.evaluate(WIDTH)
    if wide > page.viewport_size["width"]:
        found.append(f"is {wide} px wide")
    return found
