"""A question at a terminal, before something is changed."""

from __future__ import annotations

import sys


def agreed(question: str) -> bool:
    """Whether the user says yes; nobody does where there is no terminal to ask at."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stdout.flush()
    sys.stderr.write(f"\n{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
