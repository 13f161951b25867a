"""The page about trust names every setting that widens what a party may do, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from core.settings import WIDENS, Settings

DOCS = Path(__file__).parents[2] / "docs"


def widened_by() -> set[str]:
    """What the last column of the table of the parties has in backticks."""
    rows = [line for line in (DOCS / "security.md").read_text(encoding="utf-8").splitlines() if line.startswith("| **")]
    cells = [row.rstrip(" |").rpartition("|")[2] for row in rows]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_the_settings_that_widen_trust_are_those_of_the_page() -> None:
    widening = {name for name, field in Settings.model_fields.items() if WIDENS in field.metadata}
    assert widening == widened_by() & Settings.model_fields.keys()


def test_the_flags_of_the_page_are_flags() -> None:
    known = (DOCS / "cli.md").read_text(encoding="utf-8") + (DOCS / "mcp-server.md").read_text(encoding="utf-8")
    flags = {flag for name in widened_by() for flag in re.findall(r"--[a-z-]+", name)}
    assert flags
    assert {flag for flag in flags if flag not in known} == set()
