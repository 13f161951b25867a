"""What differs between two versions of a job, as text. Pure."""

from __future__ import annotations

import difflib
from typing import Any

from core.documents import dump


def diff(before: dict[str, Any] | str, after: dict[str, Any] | str, old: str, new: str) -> str:
    """The unified diff of two documents in the form in which people write them; empty when they say the same."""
    left, right = (side if isinstance(side, str) else dump.to_yaml(side) for side in (before, after))
    return "\n".join(difflib.unified_diff(left.splitlines(), right.splitlines(), old, new, n=2, lineterm=""))
