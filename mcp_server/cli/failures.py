"""How the CLI tells a fault: code, message, places and hint on stderr; a traceback only in the log file it names."""

from __future__ import annotations

import sys
import traceback

import orjson
import pydantic

from core import errors
from mcp_server.cli import codes, wording


def report(error: Exception, *, as_json: bool) -> int:
    """Print an error on stderr and return the exit code for it."""
    code = codes.FAILED
    if isinstance(error, pydantic.ValidationError):
        code, fault = codes.USAGE, _settings(error)
    elif isinstance(error, errors.SluiceError):
        code, fault = codes.of_error(error), error
    elif isinstance(error, OSError):
        fault = errors.Internal(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
    else:
        fault = errors.Internal(
            f"{type(error).__name__}: {errors.shorten(str(error))}", hint="This is a fault of Sluice; please report it."
        )
        fault.details["at"] = _place(error)
    if as_json:
        sys.stderr.write(orjson.dumps({"error": fault.to_dict()}, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        fault.hint = wording.hint(fault.hint)
        sys.stderr.write(f"error: {fault}\n")
        if isinstance(diff := fault.details.get("diff"), str):
            sys.stderr.write("".join(f"  {line}\n" for line in diff.splitlines()))
        if "at" in fault.details:
            sys.stderr.write(f"  at: {fault.details['at']}\n")
    return code


def _settings(error: pydantic.ValidationError) -> errors.SluiceError:
    problems = [
        errors.Problem("/" + "/".join(str(part) for part in fault["loc"]), str(fault["msg"]))
        for fault in error.errors()
    ]
    return errors.InvalidParams(
        "A setting does not fit.", hint="Settings come from flags and SLUICE_* variables.", errors=problems
    )


def _place(error: Exception) -> str:
    """The innermost place in our code, so that a report can be acted upon without a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno} in {frames[-1].name}" if frames else "?"
