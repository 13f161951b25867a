"""Test files imported as pytest does it, with their assertions rewritten, before there is a session."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterable
from pathlib import Path

import pytest
from _pytest.config import _prepareconfig

from tests import quick


def load(files: Iterable[str]) -> None:
    """A file that cannot be imported is left out: pytest reports it when it collects it."""
    config = _prepareconfig(["-p", "no:cacheprovider"])
    for file in map(Path, files):
        name = ".".join(file.relative_to(quick.ROOT).with_suffix("").parts)
        with contextlib.suppress(Exception, pytest.skip.Exception), warnings.catch_warnings(action="error"):
            importlib.import_module(name)
        quick.starts(file)
    config._ensure_unconfigure()
