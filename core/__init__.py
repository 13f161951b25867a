"""The engine of Sluice: everything that plans, records, dispatches and runs; it knows no transport.

Map, in reading order (each room's docstring goes on from here):

    model/        the nouns and their state tables; model/frames: what engine and workers say to each
                  other, and in which version of their protocol; model/results: what operations answer with
    operations/   every verb that a user has, declared once; the doors are read off this registry
    engine        the composition root; Engine.call answers every operation; open_offline: what a command may without it
    admission     what is asked of a call first: rights, tenant, size, arguments, the write gate
    explain/      why something is as it is, as a chain of causes
    retention     what is kept, and for how long, with a share for each tenant (store/shares, triggers/quota)
    denials       refusals on record, folded when they are many
    measures      what the engine counts of itself; spans: what it tells a tracing system
    replays       idempotency keys of writes over HTTP, with the answers (of runs: triggers/invoke)
    backup/       a home as one archive, taken while the engine runs, and back
    adoption      a home that was copied (whereabouts) asks before it runs
    deployments/  plan, apply, reconcile: what shall run, where, and why
    gitops/       files as the desired state of an environment: read, compare, promote
    external/     workers of other machines, over WebSocket or NATS (natsclient, natstransport)
    letters/      dead letters: what jobs could not bring to its end, kept until somebody decides
    fleet/        the owner's side of the workers: processes, assignments, what they send and may speak for
    workflows/    what tenants write themselves: drafts, validation, versions, differences
    triggers/     published actions: registry, invocation, responses
    catalog/      documents to start from: what comes with Sluice, the tenants' own, and what portals offer
    jobs/         single jobs, which people stage and deploy one by one
    contexts/     what jobs find around them: context values, dynamic variables, secrets
    identity/     credentials: API keys, the JWTs minted from them, whom either stands for
    licensing     the license in force; license: what one says
    worker/       the data plane: a process that runs jobs and never sees the store; witness: whose code it runs
    kv/           values, sets and work queues that outlive runs
    store/        SQLite, and nothing else touches it
    bus/          messages and deliveries
    dsl/          the job language: what a document means, the components, their reference
    documents/    what people write: loading, checking, canonical form
    guard/        what jobs, callbacks and portals may reach, and the only ways there: addresses, dialling, files
                  (fileroots: how operators write what they open; filesystems: on what kind of disk it lies)
    confinement/  the sandbox of worker processes: what the kernel keeps them from

    readiness     whether an engine can take work now
    reserve       what jobs leave free of every disk
    ownership     the home directory: one owner, everyone else attaches through its socket
    channel       the framed channel that joins owner, front doors and workers
    accepting     who may connect (so many in all, so many of one address), and who is too slow to stay; attached:
                  processes at the engine's socket
    forever       tasks that no fault ends
    collector     when Python looks for garbage
    keyfile       a file with one secret
    homes         where a home directory is
    httpclient    the one place where HTTP clients are made
    settings      what an engine can be told; settingsfile: sluice.toml, where a home keeps it; precedence: what counts
                  when a flag, the environment and the file speak of one setting; effective: how that is told
    clock, logs, errors, docstrings, pointers, near, backoff

Start with operations/triggers.py: everything begins there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import SluiceError

if TYPE_CHECKING:
    from core.settings import Settings

__all__ = ["Settings", "SluiceError"]


def __getattr__(name: str) -> Any:
    """Settings, when somebody wants them: who only asks an engine has none, and their model takes long to import."""
    if name != "Settings":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from core.settings import Settings

    return Settings
