"""Components are found by their name, and imported when one is needed."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

from core.dsl.component import KINDS, REGISTRY

LOADED = "import sys, core.worker.__main__; print(*(name for name in sys.modules if name.startswith('core.dsl.')))"


@pytest.mark.parametrize("kind", KINDS)
def test_each_package_lists_what_its_modules_declare(kind: str) -> None:
    package = importlib.import_module(f"core.dsl.{kind}s")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    declared = {one.name: one.__module__.rpartition(".")[2] for one in REGISTRY if one.kind == kind}
    assert declared == package.COMPONENTS
    assert REGISTRY.names(kind) == list(package.COMPONENTS)


def test_a_worker_begins_with_nothing_but_what_takes_messages() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    declaring = {
        f"core.dsl.{kind}s.{module}"
        for kind in KINDS
        for module in importlib.import_module(f"core.dsl.{kind}s").COMPONENTS.values()
    }
    loaded = set(done.stdout.split()) & declaring
    assert loaded == {"core.dsl.inputs.internal_messages"}
