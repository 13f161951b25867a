"""Fill the registry of components: importing the three packages declares everything that is in them."""

from __future__ import annotations

import functools
import importlib


@functools.cache
def load_components() -> None:
    """Import every input, action and output once.

    By name and on demand, because components import the language (templates, conditions) that imports this.
    """
    for package in ("core.dsl.inputs", "core.dsl.actions", "core.dsl.outputs"):
        importlib.import_module(package)
