"""`sluice completion`: let the shell complete commands, flags and choices."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
from cyclopts import Parameter

from core import errors
from mcp_server.cli import connect, main, render

Shell = Literal["bash", "zsh", "fish"]
SHELLS = ("bash", "zsh", "fish")


def completion(
    shell: Shell | None = None,
    /,
    *,
    install: Annotated[bool, Parameter(negative=())] = False,
    startup: bool = True,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Print the completion script of a shell, or install it for sluice and sluice-mcp.

    Parameters
    ----------
    shell
        The shell; the one of the variable SHELL when left out.
    install
        Write the scripts where the shell looks for them.
    startup
        With --install: also load them in the start file of bash or zsh.
    """
    wanted = shell or present()
    programs = {main.PROGRAM: _plain(main.build()), main.PROGRAM_MCP: _plain(_mcp())}
    if not install:
        script = "\n".join(app.generate_completion(prog_name=name, shell=wanted) for name, app in programs.items())
        render.json({"shell": wanted, "script": script}) if common.json else render.text(script)
        return 0
    paths = [app.install_completion(shell=wanted, add_to_startup=startup) for app in programs.values()]
    if common.json:
        render.json({"shell": wanted, "files": [str(path) for path in paths]})
    else:
        for path in paths:
            render.text(f"Wrote {path}")
        connect.note(f"Start a new {wanted} to have it.")
    return 0


def _plain(app: cyclopts.App) -> cyclopts.App:
    """Have every description taken as it is: reading each as Markdown is half of the time, and none is."""
    app.help_format = "plaintext"
    for name in app:
        if not name.startswith("-"):
            _plain(app[name])
    return app


def present() -> Shell:
    """The user's shell. Raises InvalidParams when it is none of ours."""
    name = Path(os.environ.get("SHELL", "")).name
    for shell in SHELLS:
        if shell == name:
            return shell  # type: ignore[return-value]  # the three are what Shell allows
    raise errors.InvalidParams(
        f"There is no completion for the shell {errors.shorten(name, 40) or 'of this user, which is not known'}.",
        hint=f"Name one: sluice completion {'|'.join(SHELLS)}.",
    )


def _mcp() -> cyclopts.App:
    """The commands of sluice-mcp, under the name of that program."""
    from mcp_server.cli import mcp

    app = cyclopts.App(name=main.PROGRAM_MCP, default_command=mcp.app.default_command)
    for name in mcp.app:
        if not name.startswith("-"):
            app.command(mcp.app[name], name=name)
    return app
