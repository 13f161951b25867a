"""The build backend of the package: hatchling, and the console (console.py) before a wheel or a source distribution.

An editable install has no console yet; the checkout builds it when a page is first needed.
"""

from __future__ import annotations

from typing import Any

from hatchling import build as hatchling
from hatchling.build import build_editable, get_requires_for_build_editable

import console  # beside this file (backend-path in pyproject.toml)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

Config = dict[str, Any] | None


def get_requires_for_build_wheel(config_settings: Config = None) -> list[str]:
    return [*hatchling.get_requires_for_build_wheel(config_settings), *_node()]


def get_requires_for_build_sdist(config_settings: Config = None) -> list[str]:
    return [*hatchling.get_requires_for_build_sdist(config_settings), *_node()]


def build_wheel(wheel_directory: str, config_settings: Config = None, metadata_directory: str | None = None) -> str:
    console.ensure()
    return hatchling.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: Config = None) -> str:
    console.ensure()
    return hatchling.build_sdist(sdist_directory, config_settings)


def _node() -> list[str]:
    return [] if console.current() else [console.NODE]
