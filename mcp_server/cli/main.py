"""The `sluice` command: which commands there are. What they do is imported when one of them is called."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts.config import Env

from mcp_server.cli import arguments, examples, leading, names, reader
from mcp_server.cli.forms import FORMS, PARTS

PROGRAM = "sluice"
PROGRAM_MCP = "sluice-mcp"
VARIABLES = "SLUICE_"  # a flag that is not given comes from this and its name

GROUPS = {
    "catalog": "Find workflows, perspectives, blueprints and library jobs.",
    "workflow": "Author workflows, perspectives and blueprints: draft, validate, publish, compare.",
    "plans": "Look at saved plans.",
    "gitops": "Keep an environment as files: validate, diff, apply, promote, roll back.",
    "job": "Check, store and run single jobs.",
    "workload": "See what runs where.",
    "schedule": "See when jobs run by the clock; pause them, run them now, or for times that are past.",
    "trigger": "Publish and invoke 'run this now' actions.",
    "invocation": "Look at the runs of triggers.",
    "letters": "See and replay what jobs refused.",
    "runs": "Look at the runs of jobs, and end one.",
    "kv": "See what jobs keep: values, sets, work queues.",
    "worker": "See the workers, let new ones in, label and drain them.",
    "worker-token": "Make and revoke tokens that let workers of other machines in.",
    "group": "Make and change worker groups.",
    "deployment": "Say how a deployment is kept, and from where a step reads on.",
    "context": "Set what {{name}} in documents stands for: globally, or for an environment, group, worker or job.",
    "secret": "Set and rotate secrets for jobs (never shown).",
    "variable": "Set dynamic variables, ${dyn|NAME} in jobs.",
    "token": "Make and revoke API tokens.",
    "role": "Bind roles to groups and people of a provider, and to service accounts.",
    "service-account": "Make accounts of programs, and API keys of these.",
    "license": "See and install the license.",
    "service": "Run the engine as a service of this machine (systemd).",
}
APPS = ("mcp", "backup")
_BESIDE = (
    # commands that are not named for an operation: path, where the function is, one line of help
    ("demo", "demo:demo", "See the whole product work on this machine, in under a minute."),
    ("serve", "serve:serve", "Run the engine: workers, HTTP API, and MCP at /mcp."),
    ("service install", "service:install", "Run the engine as a service, now and at each start of the machine."),
    ("service status", "service:status", "Tell how the service is."),
    ("service remove", "service:remove", "Stop the service and remove its unit; all data stays."),
    ("up", "up:up", "Deploy files: check, publish, plan, show, ask, apply and wait, in one."),
    ("wait", "wait:wait", "Wait until a deployment, a run or a job is as you want it."),
    ("completion", "completion:completion", "Let the shell complete commands; --install sets it up."),
    ("workflow new", "starting:new", "Begin a workflow: a commented one that runs as it is."),
    ("catalog pack", "portals:pack", "Make a portal of a directory of documents."),
    ("logout", "login:logout", "Forget a login."),
    ("backup", "backups:app", "Make one archive of the home while everything runs, and check one."),
    ("backup verify", "backups:verify", "Check every part of a backup, without restoring it."),
    ("restore", "backups:restore", "Put a backup into an empty home, every part of it checked before."),
    ("mcp install", "install:install", "Connect an MCP client to this engine, and try it once."),
)


def commands() -> dict[str, tuple[str, str]]:
    """Every command by its path: module:attribute below mcp_server.cli, and one line of help."""
    found = {path: (place, text) for path, place, text in _BESIDE}
    found |= {form.path: (f"commands:{name}", form.about) for name, (_, form) in PARTS.items()}
    for operation, form in FORMS.items():
        text = form.about or arguments.summary(operation)
        found.setdefault(form.path, (form.by or f"commands:{operation}", text))
    return found


class Environment(Env):
    """SLUICE_<FLAG> for every flag, and never for a positional argument: a name must come from the command line."""

    def __call__(self, app: Any, commands: tuple[str, ...], arguments: Any) -> None:
        flags = [a for a in arguments if not a.field_info.is_positional_only]
        super().__call__(app, commands, type(arguments)(flags))
        found = {one.name: token.keyword for one in flags for token in one.tokens if token.source == self.source}
        if commands and commands[-1] == "serve":  # which tells where each of its settings came from
            from mcp_server.cli import connect

            connect.taken_from_variables({name.lstrip("-").replace("-", "_"): str(at) for name, at in found.items()})


def build() -> cyclopts.App:
    """The command tree, with nothing behind it loaded."""
    app = cyclopts.App(
        name=PROGRAM,
        help="Sluice: a control plane for data pipelines that people and AI agents operate safely.",
        help_epilogue="Every command takes --home, --json and --tenant, before it or after it. "
        "Every flag has a variable SLUICE_<FLAG>.",
        help_format="plaintext",
        config=Environment(VARIABLES, command=False, show=False),  # the rule is told once, in the help of the program
        version=_version,
        result_action="return_value",
        backend="asyncio",
    )
    groups = {name: cyclopts.App(name=name, help=text) for name, text in GROUPS.items()}
    for group in groups.values():
        app.command(group)
    groups["worker"].default(_join)
    groups["worker"].help_epilogue = examples.epilogue("worker")
    for path, (place, text) in commands().items():
        group_name, _, name = path.rpartition(" ")
        if group_name in APPS:  # an app has its own commands
            continue
        parent = groups[group_name] if group_name else app
        shown = {} if place.endswith(":app") else {"help_epilogue": examples.epilogue(path)}  # nor does it need ours
        parent.command(f"mcp_server.cli.{place}", name=name, help=text, **shown)
    return app


async def _join(
    *,
    url: str | None = None,
    token_file: Path | None = None,
    token: str | None = None,
    name: str | None = None,
    slots: int = 64,
    tls_ca: Path | None = None,
    home: Path | None = None,
    data_root: Path | None = None,
    file_root: Annotated[list[str] | None, cyclopts.Parameter(negative=())] = None,
    nats: str | None = None,
    group: str = "default",
    key_file: Path | None = None,
) -> int:
    """See the workers, let new ones in, label and drain them; with --url, run one on this machine.

    Parameters
    ----------
    url
        Where the engine is: the address of `sluice serve` (https://HOST:PORT), or that of its NATS server
        (nats://HOST:PORT).
    token_file
        A file (0600) with the token that `sluice worker-token create` has made. It is needed once: then the worker has
        a credential of its own, in its home.
    token
        The token itself, which other processes here can see then; also SLUICE_WORKER_TOKEN.
    name
        The name of the worker; that of this machine when left out, or what the token says.
    slots
        How many jobs it may hold.
    tls_ca
        A PEM file with the certificates that the server may show. Without one any will do: the worker makes sure by
        itself that it speaks with its engine.
    home
        The data directory of the worker.
    data_root
        Where the files of jobs are on this machine, in one directory for each tenant; the home with -data behind its
        name when left out.
    file_root
        One more directory of this machine for jobs, as [TENANT=]PATH[:ro]: of one tenant, only to read. May be
        repeated.
    nats
        The NATS server of channels that are streams; without --url, also where to join.
    group
        The worker group to join, of a worker that comes with a copy of worker.key.
    key_file
        A copy of worker.key of the engine, for workers from before there were tokens (allow_shared_worker_key).
    """
    if url is None and nats is None:
        if token_file or token or name or tls_ca or key_file:
            from core import errors

            raise errors.InvalidSettings(
                "Where is the engine? --url is missing.", hint="sluice worker --url https://HOST:PORT --token-file FILE"
            )
        build()["worker"].help_print([])
        return 0
    from mcp_server.cli import join

    return await join.join(
        join.Joining(
            url=url,
            nats=nats,
            group=group,
            name=name,
            slots=slots,
            token=token,
            token_file=token_file,
            key_file=key_file,
            tls_ca=tls_ca,
            home=home,
            data_root=data_root,
            file_roots=file_root,
        )
    )


def _version() -> str:
    import importlib.metadata

    return importlib.metadata.version("sluice-mcp")


def main() -> None:
    """Entry point of `sluice`."""
    sys.exit(run(sys.argv[1:]))


def main_mcp() -> None:
    """Entry point of `sluice-mcp`, which is `sluice mcp`."""
    sys.exit(run(["mcp", *sys.argv[1:]]))


def run(argv: Sequence[str]) -> int:
    """Do one command and return its exit code, see codes."""
    gc.set_threshold(50_000, 20, 50)  # as core.collector does, which a list of commands need not import
    code = 0
    try:
        with reader.minded():
            code = _run(argv)
        return code
    except BrokenPipeError:
        from mcp_server.cli import codes

        reader.silence()
        return codes.UNREAD
    except reader.Unwritable as error:
        from mcp_server.cli import codes

        reader.silence()
        sys.stderr.write(f"error: Standard output cannot be written: {error.strerror}.\n")
        return code or codes.UNWRITTEN


def _run(argv: Sequence[str]) -> int:
    if argv[:1] == [names.WORD]:
        return names.offer(argv[1:])
    app = build()
    words = leading.behind_the_command(argv, {*GROUPS, *APPS})
    output = "json" if "--json" in argv else "table"
    try:
        command, bound, _ = app.parse_args(words or ["--help"], exit_on_error=False, print_error=False)
        if (common := bound.arguments.get("common")) is not None:
            output = common.output
            from mcp_server.cli import render  # what prints results is paid for only where there is one

            render.choose(output)
        if output == "name":
            from mcp_server.cli import naming

            if refusal := naming.refusal(" ".join(app.parse_commands(words)[0])):
                from mcp_server.cli import codes, failures

                failures.report(refusal, as_json=False)
                return codes.USAGE
        code = command(*bound.args, **bound.kwargs)
        if inspect.iscoroutine(code):
            code = asyncio.run(code)
    except cyclopts.CycloptsError as error:
        from mcp_server.cli import mistyped

        return mistyped.report(error, words, commands(), PROGRAM, as_json="--json" in argv)
    except KeyboardInterrupt:
        from mcp_server.cli import codes

        return codes.INTERRUPTED
    except SystemExit:  # of what prints the help, when nobody reads it
        raise BrokenPipeError from None
    except (BrokenPipeError, reader.Unwritable):
        raise
    except Exception as error:
        from mcp_server.cli import failures

        return failures.report(error, as_json=output == "json")
    return code if isinstance(code, int) else 0
