"""The engine of Sluice: everything that plans, records, dispatches and runs; it knows no transport.

Map, in reading order (each room's docstring goes on from here):

    model/        the nouns and their state tables
    operations/   every verb that a user has, declared once; the doors are read off this registry
    engine        the composition root; Engine.call answers every operation
    licensing     the license in force
    adoption      a home that was copied asks before it runs
    ownership     the home directory: one owner, everyone else attaches through its socket
    channel       the framed channel that joins owner, front doors and workers
    denials       refusals on record, folded when they are many
    retention     what is kept, and for how long
    explain/      why something is as it is, as a chain of causes
    triggers/     published actions: registry, invocation, responses
    deployments/  plan, apply, reconcile: what shall run, where, and why
    gitops/       files as the desired state of an environment: read, compare, promote
    workflows/    what tenants write themselves: drafts, validation, versions, differences
    catalog/      documents to start from: what comes with Sluice, the tenants' own, and what portals offer
    external/     workers of other machines, over NATS
    fleet/        the owner's side of the workers: processes, assignments, what they send
    contexts/     what jobs find around them: context values, dynamic variables, secrets
    worker/       the data plane: a process that runs jobs and never sees the store
    dsl/          the job language: components, templates, conditions, compiled to one function per batch
    confinement/  the sandbox of worker processes: what the kernel keeps them from
    documents/    what people write: loading, checking, canonical form
    bus/          messages and deliveries
    kv/           values, sets and work queues that outlive runs
    store/        SQLite, and nothing else touches it

Start with operations/triggers.py: everything begins there.
"""

from core.errors import SluiceError
from core.settings import Settings

__all__ = ["Settings", "SluiceError"]
