"""Every verb that a user has, declared once. MCP tools, HTTP routes, OpenAPI, CLI and docs are read off REGISTRY.

One module per noun; `registry` holds the registry that they fill. First file to read: triggers.
"""

from core.operations import (
    catalog,
    contexts,
    deployment_status,
    deployments,
    invocations,
    job_drafts,
    job_log,
    job_metrics,
    jobs,
    kv,
    license,
    messages,
    plans,
    reconcile,
    reference,
    secrets,
    tokens,
    trace,
    triggers,
    variables,
    workers,
    workflow_drafts,
    workflows,
)
from core.operations.registry import REGISTRY

__all__ = [
    "REGISTRY",
    "catalog",
    "contexts",
    "deployment_status",
    "deployments",
    "invocations",
    "job_drafts",
    "job_log",
    "job_metrics",
    "jobs",
    "kv",
    "license",
    "messages",
    "plans",
    "reconcile",
    "reference",
    "secrets",
    "tokens",
    "trace",
    "triggers",
    "variables",
    "workers",
    "workflow_drafts",
    "workflows",
]
