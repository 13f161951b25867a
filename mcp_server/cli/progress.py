"""Long work with a progress bar for people, fed by what the engine announces about it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mcp_server.cli import connect


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
