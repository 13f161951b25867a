"""Workflows, deployments and what keeps them: rollouts, worker groups, GitOps runs, the catalog."""

from __future__ import annotations

from sqlite_utils import Database

from core.store.migrations import jobs  # noqa: F401 - its steps come before these
from core.store.migrations.steps import STEPS, table


@STEPS()
def m0005_workflows(db: Database) -> None:
    table(
        db,
        "documents",
        {
            "tenant": str,
            "kind": str,
            "slug": str,
            "version": str,
            "state": str,
            "revision": int,
            "title": str,
            "text": str,
            "document": str,
            "digest": str,
            "derived_from": str,
            "updated_at_ns": int,
            "updated_by": str,
            "published_at_ns": int,
        },
        ("tenant", "kind", "slug", "version"),
    )


@STEPS()
def m0006_rollouts(db: Database) -> None:
    db.execute("ALTER TABLE deployments ADD COLUMN gate TEXT NOT NULL DEFAULT ''")  # JSON while an apply is watched
    db.execute("ALTER TABLE deployment_history ADD COLUMN reason TEXT NOT NULL DEFAULT ''")


@STEPS()
def m0007_groups_and_reconcile(db: Database) -> None:
    table(
        db,
        "worker_groups",
        {"name": str, "slots": int, "labels": str, "updated_at_ns": int, "updated_by": str},
        "name",
        nullable="slots",
    )
    db.table("worker_groups").insert(
        {"name": "default", "slots": None, "labels": "[]", "updated_at_ns": 0, "updated_by": "sluice"}
    )
    table(
        db,
        "workers",  # only those of which somebody said something; the others are as the settings say
        {"name": str, "group_name": str, "labels": str, "drained": int, "updated_at_ns": int, "updated_by": str},
        "name",
        nullable="group_name",
    )
    db.execute("ALTER TABLE deployments ADD COLUMN reconcile TEXT NOT NULL DEFAULT 'auto'")
    db.execute("ALTER TABLE deployments ADD COLUMN reconcile_interval_seconds INTEGER")
    db.execute("ALTER TABLE deployments ADD COLUMN ignored TEXT NOT NULL DEFAULT '[]'")


@STEPS()
def m0008_gitops(db: Database) -> None:
    table(
        db,
        "gitops_runs",
        {
            "id": str,
            "tenant": str,
            "environment": str,
            "manifest": str,
            "action": str,
            "state": str,
            "commit_sha": str,
            "source": str,
            "approval": str,
            "username": str,
            "surface": str,
            "started_at_ns": int,
            "finished_at_ns": int,
            "summary": str,
            "reason": str,
            "body": bytes,
        },
        "id",
        nullable="finished_at_ns",
    )
    db.table("gitops_runs").create_index(["tenant", "environment", "started_at_ns"])
    table(
        db,
        "gitops_events",
        {
            "run_id": str,
            "seq": int,
            "at_ns": int,
            "action": str,
            "kind": str,
            "name": str,
            "state": str,
            "message": str,
        },
        ("run_id", "seq"),
    )
    table(
        db,
        "gitops_items",
        {
            "tenant": str,
            "environment": str,
            "manifest": str,
            "kind": str,
            "name": str,
            "created": int,
            "run_id": str,
        },
        ("tenant", "environment", "manifest", "kind", "name"),
    )


@STEPS()
def m0009_catalog(db: Database) -> None:
    table(
        db,
        "installed_items",
        {
            "tenant": str,
            "type": str,
            "slug": str,
            "version": str,
            "portal": str,
            "location": str,
            "author": str,
            "sha256": str,
            "text": str,
            "document": str,
            "installed_at_ns": int,
            "installed_by": str,
        },
        ("tenant", "type", "slug", "version"),
    )
    table(
        db,
        "portal_indexes",
        {"name": str, "location": str, "etag": str, "fetched_at_ns": int, "body": bytes},
        "name",
    )
