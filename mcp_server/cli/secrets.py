"""`sluice secret`: write-only values for jobs. A value never comes from the command line, where `ps` shows it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core import errors
from mcp_server.cli import connect

MAX_BYTES = 64 * 1024


def with_value(given: dict[str, Any], beside: Mapping[str, Any], common: connect.Common) -> dict[str, Any]:
    """The value of a secret is read from standard input, a file or an environment variable.

    One line break at the end is not part of it.
    """
    return {**given, "value": _read(beside.get("from_file"), beside.get("from_env"))}


def _read(file: Path | None, variable: str | None) -> str:
    """The value. Raises InvalidParams, which never quotes it."""
    if file is not None and variable is not None:
        raise errors.InvalidParams("Give one of --from-file and --from-env.")
    if variable is not None:
        if variable not in os.environ:
            raise errors.InvalidParams(f"There is no environment variable {errors.shorten(variable, 60)}.")
        return os.environ[variable]
    if file is None and sys.stdin.isatty():
        raise errors.InvalidParams(
            "The value is read from standard input, and that is a terminal, which would show it.",
            hint="Use --from-file, --from-env, or a pipe, e.g.: pass show web/token | sluice secret set web/token",
        )
    whence = "Standard input" if file is None else str(file)
    try:
        raw = sys.stdin.buffer.read(MAX_BYTES + 2) if file is None else file.read_bytes()
        text = raw.decode("utf-8")
    except OSError as error:
        raise errors.InvalidParams(f"Cannot read {whence}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise errors.InvalidParams(f"{whence} is not UTF-8.", hint="Encode it, for instance with base64.") from None
    return text.removesuffix("\n").removesuffix("\r")
