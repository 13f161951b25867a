"""`sluice workflow new`: a workflow to start from, with what may be changed said beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from cyclopts import Parameter

from core import errors
from mcp_server.cli import connect, render

Template = Literal["plain", "durable", "webhook"]
_SLUG = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")

_HEAD = """\
# A workflow: steps, and the channels along which events move between them.
#   check it:   sluice workflow validate -f FILE
#   run it:     sluice up FILE{typed}
#   modules:    sluice workflow palette WORDS     (what a step may use, and its settings)
kind: workflow
slug: {slug}
title: {title}
summary: Say in a sentence what it is for.
tags: []
"""
_TEMPLATES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        # what is typed to run it, and what follows the head
        "plain": (
            "",
            """
# What each deployment may set: sluice up FILE --set word=hello
wizard:
  - {field: word, title: The greeting, default: hello}

# A channel that is not listed is in memory: quick, and lost with its worker.
steps:
  - id: make                               # a name of your own, used in the names of jobs
    use: blueprint:echo-source@1.0.0
    with: {event: '{"say": "{{wizard.word}}"}', interval: 1s}
    out: channel:events
  - id: label                              # what stands between: as many steps as you like
    use: blueprint:field-labeler@1.0.0
    with: {fields: {from: @SLUG@}}
    in: channel:events
    out: channel:labeled
  - id: print
    use: blueprint:file-printer@1.0.0
    with: {prefix: "@SLUG@: "}
    in: channel:labeled
""",
        ),
        "durable": (
            " --set path=@SLUG@",
            """
wizard:
  - {field: path, title: Where events wait on the disk of the worker, type: path, required: true}

# A channel on a disk: events outlive both jobs and their workers. See also: object-store, jetstream.
channels:
  spool: {transport: file-store, with: {path: "{{wizard.path}}"}}

steps:
  - id: make
    use: blueprint:echo-source@1.0.0
    with: {event: '{"say": "hello"}', interval: 1s}
    out: channel:spool
  - id: print
    use: blueprint:file-printer@1.0.0
    with: {prefix: "@SLUG@: "}
    in: channel:spool
""",
        ),
        "webhook": (
            " --set target=@SLUG@.jsonl",
            """
wizard:
  - {field: address, title: Where it listens, default: "127.0.0.1:8099"}
  - {field: target, title: The file that events are appended to, type: path, required: true}

# A sender hears 200 when the event has been accepted: try it with
#   curl -d '{"n": 1}' -H 'Content-Type: application/json' http://127.0.0.1:8099/events
steps:
  - id: listen
    use: blueprint:webhook-source@1.0.0
    with: {address: "{{wizard.address}}"}
    out: channel:received
  - id: write
    use: blueprint:file-sink@1.0.0
    with: {path: "{{wizard.target}}"}
    in: channel:received
""",
        ),
    }
)


def document(slug: str, template: Template) -> str:
    """The text of a workflow to start from. Raises InvalidParams for what is no slug."""
    if not _SLUG.fullmatch(slug) or len(slug) > 63:
        raise errors.InvalidParams(
            f"{errors.shorten(slug, 80)} cannot be the slug of a workflow.",
            hint="Lower-case letters and digits, joined by - or _, at most 63.",
        )
    typed, body = _TEMPLATES[template]
    title = re.sub("[_-]", " ", slug).capitalize()
    head = _HEAD.format(typed=typed, slug=slug, title=title)
    return (head + body).replace("@SLUG@", slug)


def new(
    slug: str = "my-flow",
    /,
    *,
    template: Template = "plain",
    file: Annotated[Path | None, Parameter(name=("--file", "-f"))] = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Begin a workflow: a commented one that runs as it is, on stdout or in a new file.

    Parameters
    ----------
    slug
        What it shall be called.
    template
        plain: in memory; durable: with a channel on a disk; webhook: from HTTP requests into a file.
    file
        Where to write it; a file that is there is left alone.
    """
    text = document(slug, template)
    if file is not None:
        try:
            with file.open("x", encoding="utf-8") as made:
                made.write(text)
        except FileExistsError:
            raise errors.AlreadyExists(f"{file} is there already, and stays.", hint="Name another file.") from None
        connect.note(f"Wrote {file}. Run it with: sluice up {file}{_TEMPLATES[template][0].replace('@SLUG@', slug)}")
    if common.json:
        render.json({"slug": slug, "file": None if file is None else str(file), "document": text})
    elif file is None:
        render.text(text)
    return 0
