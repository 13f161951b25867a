"""What the engine announces, and which operations tell the same: nobody hears what he could not ask for.

`TOPICS` is the one table; a notice of a topic that is not in it is heard by nobody. The doors ask `hears` of every
notice for every one of their streams, so it is pure and cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.model import scopes
from core.model.operation import Registry
from core.model.principal import PLATFORM, Caller


@dataclass(frozen=True, slots=True)
class Topic:
    """One kind of notice: whoever may call one of the `operations` about a thing may hear of it.

    What the platform has is `shared` when every tenant sees it (triggers and workflows that are published for all).
    """

    operations: tuple[str, ...]
    shared: bool = False


TOPICS: Mapping[str, Topic] = {
    "registry": Topic(("trigger_tools",), shared=True),
    "invocation": Topic(("trigger_invocation_list", "trigger_invocation_get")),
    "message": Topic(("message_search",)),
    "job": Topic(("workload_list", "job_list")),
    "deployment": Topic(("deployment_list", "deployment_get", "deployment_history")),
    "workflow": Topic(("workflow_list", "workflow_get", "catalog_search", "catalog_get"), shared=True),
    "progress": Topic(("deployment_get", "deployment_apply", "deployment_reconcile")),
    "tokens": Topic(()),  # for the doors themselves
}


def hears(operations: Registry, caller: Caller, topic: str, data: Mapping[str, Any]) -> bool:
    """Whether a notice is for this caller: of one of its tenants, and what it could ask an operation for.

    A notice without a tenant says that notices were lost (the owner of the home changed), and holds nothing else.
    """
    known = TOPICS.get(topic)
    if known is None:
        return False
    tenant = data.get("tenant")
    if tenant and not caller.member_of(tenant) and not (known.shared and tenant == PLATFORM):
        return False
    role = caller.principal.role_in(tenant or caller.tenant)
    own, slug = caller.principal.scopes, str(data.get("slug", ""))
    for name in known.operations:
        operation = operations.get(name)
        if operation is not None and operation.allows(role) and scopes.may_hear(own, operation, slug):
            return True
    return False
