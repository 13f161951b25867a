"""How the CLI tells a fault: code, message, places and hint on stderr; a traceback only in the log file it names."""

from __future__ import annotations

import sys
import traceback

import orjson
import pydantic

from core import errors
from mcp_server.cli import codes, wording

_FOLLOWS = "default_factory_not_called"  # a default that is made of another setting, which is told


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
    faults = [fault for fault in error.errors() if fault["type"] != _FOLLOWS]
    problems = [
        errors.Problem(
            "/" + "/".join(str(part) for part in fault["loc"]),
            f"{fault['msg'][:1].lower()}{fault['msg'][1:]}; found {errors.shorten(repr(fault['input']), 60)}",
        )
        for fault in faults
    ]
    where = ", ".join(dict.fromkeys(f"SLUICE_{str(fault['loc'][0]).upper()}" for fault in faults if fault["loc"]))
    hint = f"It comes from a flag or a variable ({where}); docs/settings.md says what each takes."
    return errors.InvalidParams("A setting does not fit.", hint=hint, errors=problems)


def _place(error: Exception) -> str:
    """The innermost place in our code, so that a report can be acted upon without a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno} in {frames[-1].name}" if frames else "?"
