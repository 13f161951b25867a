"""How the CLI tells a fault: code, message, places and hint on stderr; a traceback only in the log file it names."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Collection

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
    elif isinstance(error, OSError) and error.filename is not None:
        hint = "Give a path that can be used"
        hint += ", or run this as the account that owns it." if isinstance(error, PermissionError) else "."
        fault = errors.StorageUnavailable(f"{error.strerror}: {errors.shorten(str(error.filename), 300)}", hint=hint)
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
    from core.documents import lint  # with the settings, which whoever comes here has read
    from core.settings import Settings

    problems = lint.problems_of(error, Settings)
    names = [name for problem in problems for name in _named(problem, Settings.model_fields)]
    where = ", ".join(f"SLUICE_{name.upper()}" for name in dict.fromkeys(names))
    hint = f"It comes from a flag or a variable{f' ({where})' if where else ''}; docs/settings.md says what each takes."
    return errors.InvalidParams("A setting does not fit.", hint=hint, errors=problems)


def _named(problem: errors.Problem, known: Collection[str]) -> list[str]:
    """The settings that a fault is of: that of its place, or those that it speaks of when it is of no single one."""
    at = problem.pointer.split("/")[1:2]
    return at or [word for word in re.findall(r"[a-z_]+", problem.message) if word in known]


def _place(error: Exception) -> str:
    """The innermost place in our code, so that a report can be acted upon without a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno} in {frames[-1].name}" if frames else "?"
