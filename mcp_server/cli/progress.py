"""Progress of long work, for people at a terminal: a bar fed by the engine's notices, and a line for each step."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mcp_server.cli import connect

if TYPE_CHECKING:
    from rich import console


@contextmanager
def bar(engine: connect.Client, id: str, title: str, *, quiet: bool = False) -> Iterator[None]:
    """Show how far the work named `id` (a plan, a deployment) is while the body runs; nothing when nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    shown = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with shown:
        task = shown.add_task(title, total=None)

        def hear(kind: str, data: dict[str, Any]) -> None:
            if kind == "progress" and data.get("id") == id:
                shown.update(task, total=data["total"], completed=data["done"], description=data["text"][:100])

        forget = engine.session.subscribe(hear)
        try:
            yield
        finally:
            forget()


@contextmanager
def line(out: console.Console, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """While the body runs, the last line on `out` shows the step that the body names, and its seconds; what is printed
    on `out` appears above it. Nothing is shown unless `out` is a terminal.
    """
    if quiet or not out.is_terminal:
        yield lambda step: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as shown:
        task = shown.add_task("", total=None)
        yield lambda step: shown.reset(task, description=step)
