"""The `sluice` command: which commands there are. What they do is imported when one of them is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts.config import Env

from mcp_server.cli import leading, samples

PROGRAM = "sluice"
PROGRAM_MCP = "sluice-mcp"
USAGE = 2
VARIABLES = "SLUICE_"  # a flag that is not given comes from this and its name

_GROUPS = {
    "catalog": "Find workflows, perspectives, blueprints and library jobs.",
    "workflow": "Author workflows, perspectives and blueprints: draft, validate, publish, compare.",
    "plans": "Look at saved plans.",
    "gitops": "Keep an environment as files: validate, diff, apply, promote, roll back.",
    "job": "Check, store and run single jobs.",
    "trigger": "Publish and invoke 'run this now' actions.",
    "invocation": "Look at the runs of triggers.",
    "kv": "See what jobs keep: values, sets, work queues.",
    "worker": "See the workers, group, label and drain them.",
    "group": "Make and change worker groups.",
    "deployment": "Say how a deployment is kept.",
    "context": "Set what {{name}} in documents stands for: globally, or for an environment, group, worker or job.",
    "secret": "Set and rotate secrets for jobs (never shown).",
    "variable": "Set dynamic variables, ${dyn|NAME} in jobs.",
    "token": "Make and revoke API tokens.",
    "license": "See and install the license.",
}
_COMMANDS = (
    # path, where the function is, one line of help
    ("demo", "demo:demo", "See the whole product work on this machine, in under a minute."),
    ("serve", "serve:serve", "Run the engine: workers, HTTP API, and MCP at /mcp."),
    ("doctor", "doctor:doctor", "Check this machine, the home directory and the engine."),
    ("completion", "completion:completion", "Let the shell complete commands; --install sets it up."),
    ("plan", "plans:plan", "Compute what a deployment would change, and save it."),
    ("plans list", "plans:list_plans", "List the saved plans."),
    ("plans show", "plans:show", "Show a saved plan again."),
    ("plans discard", "plans:discard", "Withdraw a saved plan."),
    ("apply", "deployments:apply", "Carry out a saved plan."),
    ("rollback", "plans:rollback", "Plan the way back to an earlier revision."),
    ("reconcile", "deployments:reconcile", "Bring what runs back to what was applied."),
    ("status", "deployments:status", "Show deployments, or one of them with its workloads and drift."),
    ("history", "deployments:history", "Show what was applied to a deployment, and when."),
    ("explain", "explain:explain", "Tell why something is as it is, and what to do next."),
    ("audit", "audit:audit", "List who changed what, and what was refused."),
    ("messages", "messages:messages", "Search the message log, or follow it."),
    ("catalog search", "catalog:search", "Search the catalog."),
    ("catalog show", "catalog:show", "Show one item: graph, fields, provenance, and how to go on."),
    ("catalog portals", "portals:portals", "List the portals and when each was read."),
    ("catalog install", "portals:install", "Install an item of a portal."),
    ("catalog update", "portals:update", "Install the newest version of what was installed."),
    ("catalog uninstall", "portals:uninstall", "Remove what was installed from a portal."),
    ("catalog pack", "portals:pack", "Make a portal of a directory of documents."),
    ("workflow list", "workflows:list_workflows", "List workflows, perspectives and blueprints."),
    ("workflow show", "workflows:show", "Show one, with its versions, graph and faults."),
    ("workflow save", "workflows:save", "Save a document as a draft."),
    ("workflow validate", "workflows:validate", "Check a document or a draft."),
    ("workflow publish", "workflows:publish", "Publish a draft as an immutable version."),
    ("workflow clone", "workflows:clone", "Copy a version, or a perspective, into a new draft."),
    ("workflow diff", "workflows:diff", "Show what differs between two versions."),
    ("workflow retire", "workflows:retire", "Take a version out of the offer."),
    ("gitops validate", "gitops:validate", "Check a manifest and all its files."),
    ("gitops diff", "gitops:diff", "Show what applying a manifest would change."),
    ("gitops apply", "gitops:apply", "Bring an environment to what the files say."),
    ("gitops promote", "gitops_runs:promote", "Deploy in one environment what was reviewed in another."),
    ("gitops rollback", "gitops_runs:rollback", "Bring an environment back to an earlier run."),
    ("gitops runs", "gitops_runs:runs", "List the runs, or show one with its events."),
    ("gitops status", "gitops_runs:status", "Show how each environment stands."),
    ("gitops import", "gitops:import_", "Write what is there as files."),
    ("job list", "jobs:list_jobs", "List jobs."),
    ("job show", "jobs:show", "Show one job."),
    ("job log", "job_log:log", "Read or follow the log of a job."),
    ("job metrics", "job_log:metrics", "Show what jobs have done: events, bytes, errors, lag."),
    ("job notifications", "messages:notifications", "Show what jobs reported lately: alerts, failures, ends of runs."),
    ("job validate", "jobs:validate", "Check a job document without storing it."),
    ("job trace", "trace:trace", "Run a job over a few events and show what each action does."),
    ("job put", "jobs:put", "Store a job document as a new version, or as a draft."),
    ("job stage", "jobs:stage", "Make the draft of a job its next version."),
    ("job deploy", "jobs:deploy", "Run a stored job on workers."),
    ("job undeploy", "jobs:undeploy", "Stop a job on all workers."),
    ("job clone", "jobs:clone", "Copy a job, also a managed one, into a draft of your own."),
    ("job delete", "jobs:delete", "Delete a job that is not deployed, or its draft."),
    ("dsl", "reference:dsl", "Look up the job language: components, keys, examples."),
    ("schema", "reference:schema", "Print the JSON Schema of one kind of document, for an editor."),
    ("trigger list", "triggers:list_triggers", "List triggers."),
    ("trigger show", "triggers:show", "Show one trigger."),
    ("trigger tools", "triggers:tools", "List the MCP tools that your triggers are."),
    ("trigger publish", "triggers:publish", "Publish a trigger definition."),
    ("trigger revise", "triggers:revise", "Publish a new revision of a trigger."),
    ("trigger deactivate", "triggers:deactivate", "Take a trigger out of service."),
    ("trigger invoke", "triggers:invoke", "Run a trigger now."),
    ("invocation get", "invocations:get", "Show one invocation."),
    ("invocation list", "invocations:list_invocations", "List invocations."),
    ("invocation watch", "invocations:watch", "Tell what happens to an invocation until it has ended."),
    ("invocation rerun", "invocations:rerun", "Run again with the parameters of an earlier run."),
    ("invocation callbacks", "invocations:callbacks", "List what was posted to callbacks."),
    ("invocation redeliver", "invocations:redeliver", "Post a callback delivery once more."),
    ("kv namespaces", "kv:namespaces", "List the namespaces that hold anything."),
    ("kv list", "kv:list_keys", "List the values of a namespace."),
    ("kv get", "kv:get", "Show the value, and the set, of a key."),
    ("kv watch", "kv:watch", "Follow the values of a namespace as they change."),
    ("kv set", "kv:set_value", "Set the value of a key."),
    ("kv delete", "kv:delete", "Delete a key."),
    ("kv queue", "kv:queue", "Show the work queue of a namespace."),
    ("kv dead-items", "kv:dead_items", "Requeue or discard the dead items of a queue."),
    ("worker list", "workers:list_workers", "List workers."),
    ("worker show", "workers:show", "Show one worker: memory, loop lag, its jobs."),
    ("worker update", "workers:update", "Put a worker in another group, or label it."),
    ("worker drain", "workers:drain", "Take a worker out of service: nothing new for it, and what can move does."),
    ("worker resume", "workers:resume", "Let a drained worker take jobs again."),
    ("worker remove", "workers:remove", "Forget a worker of another machine that has gone for good."),
    ("group list", "worker_groups:list_groups", "List worker groups."),
    ("group show", "worker_groups:show", "Show one worker group, its workers and what is placed in it."),
    ("group create", "worker_groups:create", "Make a worker group."),
    ("group update", "worker_groups:update", "Change or rename a worker group."),
    ("group delete", "worker_groups:delete", "Delete a worker group that is not used."),
    ("deployment set", "deployments:set_", "Set how a deployment is reconciled, and which drift is left alone."),
    ("context set", "contexts:set_values", "Set context values: KEY=VALUE ..."),
    ("context get", "contexts:get", "Show what a job in some place sees, and why."),
    ("context list", "contexts:list_values", "List what is set, and where."),
    ("context delete", "contexts:delete", "Remove keys from one place."),
    ("secret set", "secrets:set_value", "Set a secret, from standard input, a file or a variable."),
    ("secret list", "secrets:list_secrets", "List secrets (never their values)."),
    ("secret delete", "secrets:delete", "Delete a secret."),
    ("secret rotate-key", "secrets:rotate_key", "Encrypt all secrets with a new key."),
    ("variable set", "variables:set_value", "Set a dynamic variable."),
    ("variable list", "variables:list_variables", "List dynamic variables."),
    ("variable delete", "variables:delete", "Remove a dynamic variable."),
    ("login", "login:login", "Log in to a remote engine with an API key, for a while."),
    ("logout", "login:logout", "Forget a login."),
    ("whoami", "identity:whoami", "Tell as whom commands act: user, role, tenants, scopes."),
    ("token create", "tokens:create", "Make a token; it is shown once."),
    ("token list", "tokens:list_tokens", "List tokens (never their values)."),
    ("token revoke", "tokens:revoke", "Revoke a token."),
    ("usage", "usage:usage", "Show how much this tenant keeps in the store, and how much it may."),
    ("license show", "license:show", "Show which edition and features are licensed."),
    ("license install", "license:install", "Install a license file; it takes effect at once."),
    ("mcp", "mcp:app", "Serve MCP (the same as sluice-mcp), or connect an MCP client."),
)


class Environment(Env):
    """SLUICE_<FLAG> for every flag, and never for a positional argument: a name must come from the command line."""

    def __call__(self, app: Any, commands: tuple[str, ...], arguments: Any) -> None:
        flags = [a for a in arguments if not a.field_info.is_positional_only]
        super().__call__(app, commands, type(arguments)(flags))


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
    groups = {name: cyclopts.App(name=name, help=text) for name, text in _GROUPS.items()}
    for group in groups.values():
        app.command(group)
    groups["worker"].default(_join)
    groups["worker"].help_epilogue = samples.epilogue("worker")
    for path, place, text in _COMMANDS:
        group_name, _, name = path.rpartition(" ")
        parent = groups[group_name] if group_name else app
        shown = {} if place.endswith(":app") else {"help_epilogue": samples.epilogue(path)}  # an app has its own
        parent.command(f"mcp_server.cli.{place}", name=name, help=text, **shown)
    return app


async def _join(
    *,
    nats: str | None = None,
    group: str = "default",
    name: str | None = None,
    slots: int = 64,
    key_file: Path | None = None,
    home: Path | None = None,
    data_root: Path | None = None,
    file_root: Annotated[list[str] | None, cyclopts.Parameter(negative=())] = None,
) -> int:
    """See the workers, group, label and drain them; with --nats, run one on this machine.

    Parameters
    ----------
    nats
        The address of the NATS server that the engine uses: nats://HOST:PORT.
    group
        The worker group to join.
    name
        The name of the worker, the same at each start; the name of this machine when left out.
    slots
        How many jobs it may hold.
    key_file
        A copy of the file worker.key in the home directory of the engine; worker.key in the home directory of the
        worker when left out.
    home
        The data directory of the worker.
    data_root
        Where the files of jobs are on this machine, in one directory for each tenant; the home with -data behind its
        name when left out.
    file_root
        One more directory of this machine for jobs, as [TENANT=]PATH[:ro]: of one tenant, only to read. May be
        repeated.
    """
    if nats is None:
        build()["worker"].help_print([])
        return 0
    from mcp_server.cli import join

    return await join.join(
        nats, group, name, slots, key_file=key_file, home=home, data_root=data_root, file_roots=file_root
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
    """Do one command and return its exit code: 0 fine, 1 an error, 2 wrong usage (or changes), 3 no engine runs."""
    app = build()
    words = leading.behind_the_command(argv, {*_GROUPS, "mcp"})
    try:
        code = app(words or ["--help"], exit_on_error=False, print_error=True)
    except cyclopts.CycloptsError:
        return USAGE  # cyclopts has printed it
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        from mcp_server.cli import failures

        return failures.report(error, as_json="--json" in argv)
    return code if isinstance(code, int) else 0
