"""Logging set-up: structured lines to stderr, always; stdout belongs to protocols and to what a command prints."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from core import errors

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "exception": 3, "critical": 2}
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: str, *, plain: bool = False, **fields: str) -> None:
    """Send every log of this process to stderr at `level`, each with `fields`: as logfmt, or `plain` for people."""
    structlog.contextvars.bind_contextvars(**fields)
    structured: list[Any] = [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False),
    ]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *([_in_words] if plain else structured),
            *([_ranked] if _goes_to_the_journal() else ()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS.get(level, logging.WARNING)),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # whatever stderr is at that moment
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=LEVELS.get(level, logging.WARNING), stream=sys.stderr, force=True)
    for client in ("httpx", "httpcore"):  # they name addresses and headers, which may hold a secret
        logging.getLogger(client).setLevel(logging.WARNING)


def _goes_to_the_journal() -> bool:
    """Whether stderr is what systemd has connected to its journal (systemd.exec(5), JOURNAL_STREAM)."""
    if sys.stderr is None:  # it was closed before this process began
        return False
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):  # it was closed since, or is no file
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _ranked(logger: Any, method: str, line: Any) -> str:
    """The line with its level in front, as the journal reads it (sd-daemon(3)), so that `journalctl -p` finds it."""
    return f"<{_PRIORITIES.get(method, 4)}>{line}"


def _in_words(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    """A log line as a person reads it: `warning: worker lost: worker local-1`."""
    level, what = event.pop("level", method), str(event.pop("event", ""))
    event.pop("exc_info", None)
    facts = ", ".join(f"{name} {value}" for name, value in event.items() if name != "traceback")
    return errors.shorten(f"{level}: {what.replace('_', ' ')}" + (f": {facts}" if facts else ""), 500)
