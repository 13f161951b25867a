"""`sluice service`: the engine as a service of this machine, under systemd."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from core import errors
from core.fileroots import FileRoot
from core.homes import default_home
from core.settings import data_root_of
from mcp_server.cli import codes, connect, reader, render
from mcp_server.service import installing, unit

ACCOUNT = "sluice"
NAME = "sluice"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")

Yes = Annotated[bool, Parameter(negative=())]


def install(
    *flags: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    user: Yes = False,
    name: str = NAME,
    account: str = ACCOUNT,
    data_root: Path | None = None,
    file_root: Annotated[list[str] | None, Parameter(negative=())] = None,
    drain_seconds: float = 5.0,
    dry_run: Yes = False,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Run the engine as a service of this machine, now and at each start of it (systemd). What stands behind -- are
    flags of `sluice serve`.

    Parameters
    ----------
    user
        A service of yours in place of one of the system; it runs while you are logged in, or always with
        loginctl enable-linger.
    name
        What the service is called, for more than one on a machine.
    account
        The user as which a service of the system runs; it is made when there is none.
    data_root
        Where the files of jobs are, in one directory for each tenant; the home with -data behind its name when left
        out.
    file_root
        One more directory for jobs, as [GROUP:][TENANT=]PATH[:ro]: of one worker group, of one tenant, only to read.
        May be repeated.
    drain_seconds
        How long the service and its workers may take to drain, as the setting of that name says.
    dry_run
        Print the unit, and what would be done, and do nothing.
    """
    where, name = installing.place(of_user=user), _checked(_NAME, name, "name of a service")
    roots = [str(root) for root in file_root or ()]
    home = common.home or (default_home() if user else unit.STATE / name)
    wish = unit.Wish(
        program=installing.program(),
        home=home.absolute(),
        data_root=(data_root or data_root_of(home)).absolute(),
        flags=(*(word for root in roots for word in ("--file-root", root)), *_of_serve(flags)),
        writable=tuple(_opened(roots)),
        account=None if user else _checked(_ACCOUNT, account, "name of an account"),
        drain_seconds=drain_seconds,
    )
    if dry_run:
        steps = installing.installing(where, name, wish)
        connect.note("\n".join(f"Would {step.words}" for step in steps))
        render.text(unit.text(wish))
        return 0
    installing.check(where)
    _carry_out(installing.installing(where, name, wish))
    manager = "--user " if user else ""
    connect.note(f"Logs: journalctl {manager}-u {name}   State: sluice service status{' --user' if user else ''}")
    if not user:
        connect.note(f"The token of an administrator is in {wish.home}/admin.token, for root and {wish.account}.")
    return 0


def status(
    *,
    user: Yes = False,
    name: str = NAME,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Tell how the service is: 0 when it runs, 1 when it does not.

    Parameters
    ----------
    user
        That of yours in place of one of the system.
    name
        What the service is called.
    """
    where = installing.place(of_user=user)
    found = installing.status(where, _checked(_NAME, name, "name of a service"))
    if common.json:
        render.json(found)
    else:
        render.facts(found, tuple(found))
    return codes.OK if found.get("ActiveState") == "active" else codes.FAILED


def remove(
    *,
    user: Yes = False,
    name: str = NAME,
    dry_run: Yes = False,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Stop the service and remove its unit; the home, the files of jobs and the account stay.

    Parameters
    ----------
    user
        That of yours in place of one of the system.
    name
        What the service is called.
    dry_run
        Say what would be done, and do nothing.
    """
    where = installing.place(of_user=user)
    steps = installing.removing(where, _checked(_NAME, name, "name of a service"))
    if dry_run:
        connect.note("\n".join(f"Would {step.words}" for step in steps))
        return 0
    installing.check(where)
    _carry_out(steps)
    connect.note("The home, the files of jobs and the account are still there.")
    return 0


def _carry_out(steps: list[installing.Step]) -> None:
    reader.acts()
    for step in steps:
        connect.note(step.words[0].upper() + step.words[1:])
        installing.carry_out(step)


def _checked(pattern: re.Pattern[str], text: str, what: str) -> str:
    if pattern.fullmatch(text) is None:
        raise errors.InvalidParams(f"{errors.shorten(text, 60)!r} is no {what}.", hint="Letters, digits, - and _.")
    return text


def _opened(roots: list[str]) -> list[Path]:
    """The file roots that jobs may write. Raises InvalidParams for what is no file root."""
    try:
        parsed = [FileRoot.parse(root) for root in roots]
    except ValueError as error:
        raise errors.InvalidParams(f"--file-root: {error}.") from None
    return [Path(root.path) for root in parsed if root.writable]


def _of_serve(flags: tuple[str, ...]) -> tuple[str, ...]:
    """Flags of `sluice serve`. Raises InvalidParams for what it does not take, before a service fails of it."""
    import cyclopts

    from mcp_server.cli import main

    known = {"--home", "--data-root", "--file-root"}
    twice = sorted({flag.partition("=")[0] for flag in flags} & known)
    if twice:
        raise errors.InvalidParams(f"{', '.join(twice)} stands before the --, so that the unit opens it.")
    try:
        _, bound, _ = main.build().parse_args(["serve", *flags], exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        raise errors.InvalidParams(
            f"'sluice serve' does not take these flags: {errors.shorten(' '.join(str(error).split()), 200)}",
            hint="Which it takes says: sluice serve --help. The user that it runs as is given by --account NAME.",
        ) from None
    from mcp_server.cli import serve  # the server itself, which takes long to import

    serve.check(bound.arguments)
    return flags
