"""Fill the registry of components: importing the three packages declares everything that is in them."""

from __future__ import annotations

import functools
import importlib

from core.dsl.component import REGISTRY


@functools.cache
def load_components() -> None:
    """Import every input, action and output once.

    By name and on demand, because components import the language (templates, conditions) that imports this.
    """
    for package in ("core.dsl.inputs", "core.dsl.actions", "core.dsl.outputs"):
        importlib.import_module(package)


def takes_trigger(input: str) -> bool:
    """Whether an input can be given a `trigger`."""
    load_components()
    cls = REGISTRY.get("input", input)
    return cls is not None and "trigger" in cls.model_fields
