"""`sluice completion`: let the shell complete commands, flags and choices."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import cyclopts
from cyclopts import Parameter

from core import errors
from mcp_server.cli import connect, main, names, render

Shell = Literal["bash", "zsh", "fish"]
SHELLS = ("bash", "zsh", "fish")
NAMES: Mapping[str, str] = MappingProxyType(
    {
        # behind the commands and flags, which the script knows: names, which only the engine knows
        "bash": f"""
_sluice_named() {{
  _sluice
  [[ "${{COMP_WORDS[COMP_CWORD]}}" == -* ]] && return
  local IFS=$'\\n'
  COMPREPLY+=( $(compgen -W "$(sluice {names.WORD} "${{COMP_WORDS[@]:1:COMP_CWORD-1}}" 2>/dev/null)" \\
    -- "${{COMP_WORDS[COMP_CWORD]}}") )
}}
complete -F _sluice_named sluice
""",
        "zsh": f"""
_sluice_named() {{
  local -a typed names
  typed=(${{words[2,CURRENT-1]}})
  _cyclopts_sluice "$@"
  names=(${{(f)"$(sluice {names.WORD} $typed 2>/dev/null)"}})
  (( $#names )) && compadd -a names
}}
(( $+functions[compdef] )) && compdef _sluice_named sluice
""",
        "fish": f"""
complete -c sluice -f -a '(sluice {names.WORD} (commandline -opc)[2..] 2>/dev/null)'
""",
    }
)


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
        scripts = [app.generate_completion(prog_name=name, shell=wanted) for name, app in programs.items()]
        script = "\n".join([*scripts, NAMES[wanted]])
        render.json({"shell": wanted, "script": script}) if common.json else render.text(script)
        return 0
    paths = [app.install_completion(shell=wanted, add_to_startup=startup) for app in programs.values()]
    with paths[0].open("a", encoding="utf-8") as script_of_sluice:
        script_of_sluice.write(NAMES[wanted])
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
