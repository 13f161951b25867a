"""The same call through MCP, HTTP, the command line and a remote session: one value, or one code and its pointers.

The engine is a real `sluice serve`; the clients are real ones, each in a process of its own. The remote ones
(sluice-mcp for what is a tool, otherwise sluice) know the address of the engine and an API key, and not its home.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from core.gitops import files
from core.workflows import packing
from mcp_server.cli import stage
from tests import cases

pytestmark = pytest.mark.anyio
TENANT = "tenant-a"
EXAMPLES = Path(__file__).parents[1] / "examples"
DIRECTIONS = frozenset({"route", "command", "why", "hint"})  # in the words of each door
VOLATILE = frozenset(
    {
        "after",
        "invocation_id",
        "nonce",
        "last_heartbeat_at",
        "pid",
        "plan_id",
        "emitted_at_ns",
        "surface",
        "events",
        "report",
        "lag_seconds",
        "at",
        "metrics",
        "schedule",
    }
)
LIST = {"items", "next_cursor", "total"}


@dataclass(frozen=True)
class Call:
    """One call in the words of each door. Without a tool it is not offered over MCP."""

    http: str
    cli: str
    tool: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.http} {self.body or ''}".strip()


SETS = frozenset({"context_set", "variable_set"})
INVOKE = "POST /api/triggers/smoke_trigger/invoke"
CALLBACK = {"url": "http://10.0.0.1/", "headers": {"host": "x"}}
HANDLER = EXAMPLES / "smoke_trigger_handler.yaml"
TRACED = {"document": HANDLER.read_text(encoding="utf-8"), "message": {"job_event": {"requested_at_ns": 1}}}
MANIFEST = EXAMPLES / "gitops" / "dev.yaml"
BUNDLE = files.read(MANIFEST)
FILES = {
    "manifest": BUNDLE.manifest.model_dump(mode="json"),
    "files": [file.to_dict() for file in BUNDLE.files],
}
PROMOTION = {"from_environment": "dev", "to_environment": "prod"}
VALUES = [
    Call("GET /api/dsl", "dsl", "dsl_reference"),
    Call(
        "GET /api/dsl?kind=input&name=http-poll&key=auth",
        "dsl input/http-poll --key auth",
        "dsl_reference",
        {"kind": "input", "name": "http-poll", "key": "auth"},
    ),
    Call("GET /api/dsl?query=gzip", "dsl search gzip", "dsl_reference", {"query": "gzip"}),
    Call("GET /api/schemas/deployment", "schema deployment"),
    Call(
        "POST /api/jobs/trace",
        f'job trace {HANDLER} --message \'{{"job_event": {{"requested_at_ns": 1}}}}\'',
        "job_trace",
        TRACED,
        TRACED,
    ),
    Call(
        "GET /api/jobs/smoke_trigger_handler?compare=1",
        "job show smoke_trigger_handler --compare 1",
        "job_get",
        {"name": "smoke_trigger_handler", "compare": 1},
    ),
    Call("GET /api/workers", "worker list", "worker_list"),
    Call("GET /api/workers?state=lost", "worker list --state lost", "worker_list", {"state": "lost"}),
    Call("GET /api/worker-groups", "group list", "worker_group_list"),
    Call("GET /api/worker-groups/default", "group show default", "worker_group_get", {"name": "default"}),
    Call(
        "PATCH /api/worker-groups/default",
        "group update default --slots 0 --label zone=eu",
        "worker_group_update",
        {"name": "default", "slots": 0, "labels": ["zone=eu"]},
        {"slots": 0, "labels": ["zone=eu"]},
    ),
    Call(
        "PATCH /api/workers/local-1",
        "worker update local-1 --label gpu",
        "worker_update",
        {"name": "local-1", "labels": ["gpu"]},
        {"labels": ["gpu"]},
    ),
    Call("POST /api/workers/local-1/resume", "worker resume local-1", "worker_resume", {"name": "local-1"}),
    Call("GET /api/jobs", "job list", "job_list"),
    Call("GET /api/jobs?state=failed", "job list --state failed", "job_list", {"state": "failed"}),
    Call("GET /api/workloads", "workload list", "workload_list"),
    Call(
        "GET /api/workloads?job=smoke_trigger_handler&state=running",
        "workload list --job smoke_trigger_handler --state running",
        "workload_list",
        {"job": "smoke_trigger_handler", "state": "running"},
    ),
    Call("GET /api/runs?job=none", "runs list none", "run_list", {"job": "none"}),
    Call("GET /api/jobs/metrics", "job metrics", "job_metrics"),
    Call(
        "GET /api/series?since=90d&points=1",
        "series --since 90d --points 1",
        "series_get",
        {"since": "90d", "points": 1},
    ),
    Call(
        "GET /api/jobs/metrics?name=smoke_trigger_handler",
        "job metrics smoke_trigger_handler",
        "job_metrics",
        {"name": "smoke_trigger_handler"},
    ),
    Call(
        "GET /api/jobs/smoke_trigger_handler/log?limit=5&level=error",
        "job log smoke_trigger_handler --limit 5 --level error",
        "job_log",
        {"name": "smoke_trigger_handler", "limit": 5, "level": "error"},
    ),
    Call(
        "GET /api/logs?of=smoke_trigger_handler&text=no+such&limit=5",
        "logs smoke_trigger_handler --grep 'no such' --limit 5",
        "log_search",
        {"of": "smoke_trigger_handler", "text": "no such", "limit": 5},
    ),
    Call("GET /api/workers/local-1", "worker show local-1", "worker_get", {"name": "local-1"}),
    Call(
        "GET /api/jobs/smoke_trigger_handler",
        "job show smoke_trigger_handler",
        "job_get",
        {"name": "smoke_trigger_handler"},
    ),
    Call("GET /api/schedules", "schedule list", "schedule_list"),
    Call("GET /api/triggers", "trigger list", "trigger_list"),
    Call(
        "GET /api/triggers?surface=mcp&limit=1",
        "trigger list --surface mcp --limit 1",
        "trigger_list",
        {"surface": "mcp", "limit": 1},
    ),
    Call("GET /api/triggers/smoke_trigger", "trigger show smoke_trigger", "trigger_get", {"slug": "smoke_trigger"}),
    Call(
        "GET /api/triggers/smoke_trigger?revision=1&compare=1",
        "trigger show smoke_trigger --revision 1 --compare 1",
        "trigger_get",
        {"slug": "smoke_trigger", "revision": 1, "compare": 1},
    ),
    Call(
        "GET /api/trigger-invocations?slug=smoke_trigger&surface=internal&tag=none&since=1h&until=1s&username=x",
        "invocation list --trigger smoke_trigger --surface internal --tag none --since 1h --until 1s --user x",
        "trigger_invocation_list",
        {
            "slug": "smoke_trigger",
            "surface": "internal",
            "tag": "none",
            "since": "1h",
            "until": "1s",
            "username": "x",
        },
    ),
    Call(
        "GET /api/callback-deliveries?outcome=dead",
        "invocation callbacks --outcome dead",
        "callback_delivery_list",
        {"outcome": "dead"},
    ),
    Call(
        "GET /api/trigger-invocations?state=failed",
        "invocation list --state failed",
        "trigger_invocation_list",
        {"state": "failed"},
    ),
    Call("GET /api/messages?type=nothing", "messages --type nothing", "message_search", {"type": "nothing"}),
    Call("GET /api/mcp/activity?label=none", "mcp activity --label none", "mcp_activity_list", {"label": "none"}),
    Call("GET /api/mcp/notifications/transport", "mcp notifications", "mcp_notifications_transport_get"),
    Call("GET /api/tokens", "token list"),
    Call("GET /api/audit?operation=job_put&limit=1", "audit --operation job_put --limit 1"),
    Call(
        "POST /api/contexts/update-job-map/j1",
        "context set region=eu n=3 --job j1",
        "context_set",
        {"values": {"region": "eu", "n": 3}, "job": "j1"},
        {"values": {"region": "eu", "n": 3}},
    ),
    Call("GET /api/contexts?job=j1", "context list --job j1", "context_list", {"job": "j1"}),
    Call("GET /api/contexts/history?job=j1", "context history --job j1", "context_history", {"job": "j1"}),
    Call("GET /api/contexts/effective?job=j1", "context get --job j1", "context_get", {"job": "j1"}),
    Call(
        "POST /api/variables/V",
        "variable set V one",
        "variable_set",
        {"name": "V", "value": "one"},
        {"value": "one"},
    ),
    Call("GET /api/variables", "variable list", "variable_list"),
    Call("GET /api/secrets", "secret list", "secret_list"),
    Call("GET /api/catalog?query=quickstart", "catalog search quickstart", "catalog_search", {"query": "quickstart"}),
    Call(
        "GET /api/catalog/quickstart-file-store-roundtrip",
        "catalog show quickstart-file-store-roundtrip",
        "catalog_get",
        {"slug": "quickstart-file-store-roundtrip"},
    ),
    Call(
        "GET /api/catalog/ticks?detail=detailed",
        "catalog show ticks --detail detailed",
        "catalog_get",
        {"slug": "ticks", "detail": "detailed"},
    ),
    Call(
        "GET /api/catalog?source=portal&availability=portal-only&limit=1",
        "catalog search --source portal --availability portal-only --limit 1",
        "catalog_search",
        {"source": "portal", "availability": "portal-only", "limit": 1},
    ),
    Call("GET /api/palette", "workflow palette", "palette_get"),
    Call(
        "GET /api/palette?query=dedupe&part=transform&limit=2",
        "workflow palette dedupe --part transform --limit 2",
        "palette_get",
        {"query": "dedupe", "part": "transform", "limit": 2},
    ),
    Call("GET /api/portals", "catalog portals", "catalog_portals"),
    Call(
        "POST /api/catalog/ticks/install",
        "catalog install ticks --type blueprint",
        "catalog_install",
        {"slug": "ticks", "type": "blueprint"},
        {"type": "blueprint"},
    ),
    Call("POST /api/catalog/ticks/update", "catalog update ticks", "catalog_update", {"slug": "ticks"}),
    Call("GET /api/workflows?source=local", "workflow list --source local", "workflow_list", {"source": "local"}),
    Call("GET /api/workflows/greetings", "workflow show greetings", "workflow_get", {"slug": "greetings"}),
    Call(
        "GET /api/workflows/greetings?version=draft",
        "workflow show greetings --version draft",
        "workflow_get",
        {"slug": "greetings", "version": "draft"},
    ),
    Call("GET /api/workflows/greetings/diff", "workflow diff greetings", "workflow_diff", {"slug": "greetings"}),
    Call(
        "POST /api/workflows/validate",
        "workflow validate greetings",
        "workflow_validate",
        {"slug": "greetings"},
        {"slug": "greetings"},
    ),
    Call("GET /api/deployments", "status", "deployment_list"),
    Call("GET /api/deployments?state=warning", "status --state warning", "deployment_list", {"state": "warning"}),
    Call("POST /api/gitops/validate", f"gitops validate {MANIFEST}", "gitops_validate", FILES, FILES),
    Call("POST /api/gitops/diff", f"gitops diff {MANIFEST}", "gitops_diff", FILES, FILES),
    Call("GET /api/gitops/runs", "gitops runs", "gitops_runs"),
    Call("GET /api/gitops/status", "gitops status", "gitops_status"),
    Call("GET /api/plans?state=open", "plans list --state open"),
    Call("GET /api/deployments/seen/history", "history seen", "deployment_history", {"name": "seen"}),
    Call(
        "GET /api/explain/job/smoke_trigger_handler",
        "explain job smoke_trigger_handler",
        "explain",
        {"kind": "job", "id": "smoke_trigger_handler"},
    ),
    Call(
        "POST /api/deployments/seen/plan",
        "rollback seen --to 1",
        "deployment_plan",
        {"name": "seen", "to_revision": 1},
        {"to_revision": 1},
    ),
    Call("GET /api/dead-letters?job=none", "letters list --job none", "dead_letter_list", {"job": "none"}),
    Call(
        "POST /api/dead-letters/replay",
        "letters replay --job smoke_trigger_handler",
        "dead_letter_replay",
        {"job": "smoke_trigger_handler"},
        {"job": "smoke_trigger_handler"},
    ),
    Call(
        "POST /api/dead-letters/discard",
        "letters discard --job smoke_trigger_handler",
        "dead_letter_discard",
        {"job": "smoke_trigger_handler"},
        {"job": "smoke_trigger_handler"},
    ),
    Call("GET /api/kv", "kv namespaces", "kv_namespaces"),
    Call("GET /api/kv/keys?namespace=n&prefix=p", "kv list n --prefix p", "kv_list", {"namespace": "n", "prefix": "p"}),
    Call("GET /api/kv/value?namespace=n&key=p", "kv get n p", "kv_get", {"namespace": "n", "key": "p"}),
    Call("GET /api/kv/queue?namespace=n", "kv queue n", "kv_queue", {"namespace": "n"}),
    Call(
        "POST /api/kv/delete",
        "kv delete n none",
        "kv_delete",
        {"namespace": "n", "key": "none"},
        {"namespace": "n", "key": "none"},
    ),
    Call(
        "POST /api/kv/dead-items",
        "kv dead-items n requeue",
        "kv_dead_items",
        {"namespace": "n", "action": "requeue"},
        {"namespace": "n", "action": "requeue"},
    ),
    Call(
        INVOKE,
        "trigger invoke smoke_trigger --set env=staging",
        "trigger_invoke_smoke_trigger",
        {"env": "staging"},
        {"params": {"env": "staging"}},
    ),
    Call(
        INVOKE,
        "trigger invoke smoke_trigger --set env=prod --set depth=3 --idempotency-key k1 --wait 20",
        "trigger_invoke_smoke_trigger",
        {"env": "prod", "depth": 3, "_idempotency_key": "k1", "_wait_timeout_seconds": 20},
        {"params": {"env": "prod", "depth": 3}, "idempotency_key": "k1", "wait_timeout_seconds": 20},
    ),
]
FAULTS = [
    (
        Call(
            "POST /api/dead-letters/replay",
            "letters replay --job none",
            "dead_letter_replay",
            {"job": "none"},
            {"job": "none"},
        ),
        "not_found",
    ),
    (
        Call(
            "POST /api/dead-letters/discard",
            "letters discard --job none",
            "dead_letter_discard",
            {"job": "none"},
            {"job": "none"},
        ),
        "not_found",
    ),
    (Call("GET /api/schedules/none", "schedule show none", "schedule_get", {"name": "none"}), "not_found"),
    (
        Call(
            "POST /api/schedules/none/backfill",
            "schedule backfill none --since 2h --until tomorrow",
            "schedule_backfill",
            {"name": "none", "since": "2h", "until": "tomorrow"},
            {"since": "2h", "until": "tomorrow"},
        ),
        "invalid_params",
    ),
    (Call("GET /api/workers?limit=0", "", "worker_list", {"limit": 0}), "invalid_params"),
    (Call("GET /api/jobs/none", "job show none", "job_get", {"name": "none"}), "not_found"),
    (Call("GET /api/jobs/none/log", "job log none", "job_log", {"name": "none"}), "not_found"),
    (Call("GET /api/workers/none", "worker show none", "worker_get", {"name": "none"}), "not_found"),
    (Call("GET /api/dsl?name=none", "dsl none", "dsl_reference", {"name": "none"}), "not_found"),
    (
        Call("GET /api/dsl?kind=none&name=x", "dsl none/x", "dsl_reference", {"kind": "none", "name": "x"}),
        "invalid_params",
    ),
    (Call("GET /api/schemas/none", "schema none"), "not_found"),
    (
        Call("POST /api/jobs/trace", "job trace --job none", "job_trace", {"name": "none"}, {"name": "none"}),
        "not_found",
    ),
    (Call("POST /api/jobs/trace", "job trace", "job_trace"), "invalid_params"),
    (Call("POST /api/jobs/none/stage", "job stage none", "job_stage", {"name": "none"}), "not_found"),
    (
        Call(
            "POST /api/jobs/none/clone",
            "job clone none x",
            "job_clone",
            {"name": "none", "new_name": "x"},
            {"new_name": "x"},
        ),
        "not_found",
    ),
    (
        Call(
            "POST /api/jobs/smoke_trigger_handler/clone",
            "job clone smoke_trigger_handler smoke_trigger_handler",
            "job_clone",
            {"name": "smoke_trigger_handler", "new_name": "smoke_trigger_handler"},
            {"new_name": "smoke_trigger_handler"},
        ),
        "already_exists",
    ),
    (
        Call(
            "DELETE /api/jobs/smoke_trigger_handler",
            "job delete smoke_trigger_handler",
            "job_delete",
            {"name": "smoke_trigger_handler"},
        ),
        "already_exists",
    ),
    (
        Call(
            "DELETE /api/jobs/smoke_trigger_handler?draft_only=true",
            "job delete smoke_trigger_handler --draft",
            "job_delete",
            {"name": "smoke_trigger_handler", "draft_only": True},
        ),
        "not_found",
    ),
    (Call("GET /api/triggers/none", "trigger show none", "trigger_get", {"slug": "none"}), "not_found"),
    (
        Call(
            "GET /api/trigger-invocations/inv_x",
            "invocation get inv_x",
            "trigger_invocation_get",
            {"invocation_id": "inv_x"},
        ),
        "not_found",
    ),
    (
        Call(
            "GET /api/triggers/smoke_trigger?compare=9",
            "trigger show smoke_trigger --compare 9",
            "trigger_get",
            {"slug": "smoke_trigger", "compare": 9},
        ),
        "not_found",
    ),
    (
        Call(
            "POST /api/trigger-invocations/inv_x/rerun",
            "invocation rerun inv_x --set a=1",
            "trigger_invocation_rerun",
            {"invocation_id": "inv_x", "params": {"a": 1}},
            {"params": {"a": 1}},
        ),
        "not_found",
    ),
    (
        Call(
            "POST /api/trigger-invocations/inv_x/cancel",
            "invocation cancel inv_x --reason enough",
            "trigger_invocation_cancel",
            {"invocation_id": "inv_x", "reason": "enough"},
            {"reason": "enough"},
        ),
        "not_found",
    ),
    (Call("GET /api/runs/none", "runs show none", "run_get", {"run_id": "none"}), "not_found"),
    (
        Call(
            "POST /api/runs/none/cancel",
            "runs cancel none --reason enough",
            "run_cancel",
            {"run_id": "none", "reason": "enough"},
            {"reason": "enough"},
        ),
        "not_found",
    ),
    (
        Call(
            "POST /api/callback-deliveries/evt_x/redeliver",
            "invocation redeliver evt_x",
            "callback_redeliver",
            {"event_id": "evt_x"},
        ),
        "not_found",
    ),
    (
        Call(
            INVOKE,
            "trigger invoke smoke_trigger --set env=a --callback http://10.0.0.1/ --callback-header host=x",
            "trigger_invoke",
            {"slug": "smoke_trigger", "params": {"env": "a"}, "callback": CALLBACK},
            {"params": {"env": "a"}, "callback": CALLBACK},
        ),
        "invalid_params",
    ),
    (
        Call(
            "GET /api/trigger-invocations?since=yesterday",
            "invocation list --since yesterday",
            "trigger_invocation_list",
            {"since": "yesterday"},
        ),
        "invalid_params",
    ),
    (Call("GET /api/audit?since=yesterday", "audit --since yesterday"), "invalid_params"),
    (Call("GET /api/messages?cursor=x", "messages --cursor x", "message_search", {"cursor": "x"}), "invalid_params"),
    (Call("GET /api/catalog/none", "catalog show none", "catalog_get", {"slug": "none"}), "not_found"),
    (
        Call("POST /api/catalog/none/install", "catalog install none", "catalog_install", {"slug": "none"}),
        "not_found",
    ),
    (Call("POST /api/catalog/none/update", "catalog update none", "catalog_update", {"slug": "none"}), "not_found"),
    (
        Call("DELETE /api/catalog/ticks", "catalog uninstall ticks", "catalog_uninstall", {"slug": "ticks"}),
        "already_exists",
    ),
    (
        Call(
            "POST /api/catalog/ticks/install",
            "catalog install ticks --portal nowhere",
            "catalog_install",
            {"slug": "ticks", "portal": "nowhere"},
            {"portal": "nowhere"},
        ),
        "not_found",
    ),
    (Call("GET /api/workflows/none", "workflow show none", "workflow_get", {"slug": "none"}), "not_found"),
    (
        Call("POST /api/workflows/none/publish", "workflow publish none", "workflow_publish", {"slug": "none"}),
        "not_found",
    ),
    (
        Call(
            "POST /api/workflows/quickstart-file-store-roundtrip/clone",
            "workflow clone quickstart-file-store-roundtrip",
            "workflow_clone",
            {"slug": "quickstart-file-store-roundtrip"},
        ),
        "already_exists",
    ),
    (
        Call(
            "POST /api/workflows/none/retire",
            "workflow retire none 1",
            "workflow_retire",
            {"slug": "none", "version": "1"},
            {"version": "1"},
        ),
        "not_found",
    ),
    (
        Call(
            "POST /api/workflows",
            f"workflow save -f {EXAMPLES / 'smoke_trigger_handler.yaml'}",
            "workflow_save_draft",
            {"document": (EXAMPLES / "smoke_trigger_handler.yaml").read_text(encoding="utf-8")},
            {"document": (EXAMPLES / "smoke_trigger_handler.yaml").read_text(encoding="utf-8")},
        ),
        "invalid_document",
    ),
    (Call("GET /api/worker-groups/none", "group show none", "worker_group_get", {"name": "none"}), "not_found"),
    (
        Call("DELETE /api/worker-groups/default", "group delete default", "worker_group_delete", {"name": "default"}),
        "invalid_params",
    ),
    (
        Call(
            "POST /api/worker-groups",
            "group create default",
            "worker_group_create",
            {"name": "default"},
            {"name": "default"},
        ),
        "already_exists",
    ),
    (
        Call("DELETE /api/workers/local-1", "worker remove local-1", "worker_remove", {"name": "local-1"}),
        "already_exists",
    ),
    (Call("POST /api/workers/none/drain", "worker drain none", "worker_drain", {"name": "none"}), "not_found"),
    (
        Call(
            "PATCH /api/workers/local-1",
            "worker update local-1 --group none",
            "worker_update",
            {"name": "local-1", "group": "none"},
            {"group": "none"},
        ),
        "not_found",
    ),
    (
        Call(
            "PATCH /api/deployments/none",
            "deployment set none --reconcile manual",
            "deployment_set",
            {"name": "none", "reconcile": "manual"},
            {"reconcile": "manual"},
        ),
        "not_found",
    ),
    (
        Call(
            "PATCH /api/deployments/none",
            "deployment set none --ignore nonsense",
            "deployment_set",
            {"name": "none", "ignore": ["nonsense"]},
            {"ignore": ["nonsense"]},
        ),
        "invalid_params",
    ),
    (Call("GET /api/gitops/runs/none", "gitops runs none", "gitops_runs", {"run_id": "none"}), "not_found"),
    (
        Call(
            "POST /api/gitops/promote",
            "gitops promote --from dev --to prod --change c",
            "gitops_promote",
            {**PROMOTION, "change": "c"},
            {**PROMOTION, "change": "c"},
        ),
        "invalid_params",
    ),
    (
        Call(
            "POST /api/gitops/rollback",
            f"gitops rollback --environment dev --change c --approved-by a --commit {'a' * 40}",
            "gitops_rollback",
            {"environment": "dev", "change": "c", "approved_by": "a", "commit": "a" * 40},
            {"environment": "dev", "change": "c", "approved_by": "a", "commit": "a" * 40},
        ),
        "not_found",
    ),
    (Call("GET /api/deployments/none", "status none", "deployment_get", {"name": "none"}), "not_found"),
    (
        Call("GET /api/kv/value?namespace=n&key=none", "kv get n none", "kv_get", {"namespace": "n", "key": "none"}),
        "not_found",
    ),
    (
        Call("GET /api/kv/queue?namespace=other:n", "kv queue other:n", "kv_queue", {"namespace": "other:n"}),
        "forbidden",
    ),
    (
        Call(
            "POST /api/kv/set",
            f"kv set n {'k' * 600} 1",
            "kv_set",
            {"namespace": "n", "key": "k" * 600, "value": 1},
            {"namespace": "n", "key": "k" * 600, "value": 1},
        ),
        "invalid_params",
    ),
    (Call("GET /api/plans/none", "plans show none", "plan_get", {"plan_id": "none"}), "not_found"),
    (Call("DELETE /api/plans/none", "plans discard none"), "not_found"),
    (
        Call(
            "POST /api/deployments/seen/plan",
            "rollback seen --to 77",
            "deployment_plan",
            {"name": "seen", "to_revision": 77},
            {"to_revision": 77},
        ),
        "not_found",
    ),
    (
        Call("GET /api/explain/plan/none", "explain plan none", "explain", {"kind": "plan", "id": "none"}),
        "not_found",
    ),
    (Call("POST /api/plans/none/apply", "apply none", "deployment_apply", {"plan_id": "none"}), "not_found"),
    (Call("POST /api/jobs/none/deploy", "job deploy none", "job_deploy", {"name": "none"}), "not_found"),
    (Call("DELETE /api/variables/none", "variable delete none", "variable_delete", {"name": "none"}), "not_found"),
    (
        Call(
            "POST /api/secrets/delete",
            "secret delete web/none",
            "secret_delete",
            {"name": "web/none"},
            {"name": "web/none"},
        ),
        "not_found",
    ),
    (
        Call(
            "POST /api/contexts/update-global",
            "context set wizard=1",
            "context_set",
            {"values": {"wizard": 1}},
            {"values": {"wizard": 1}},
        ),
        "invalid_params",
    ),
    (
        Call(
            "POST /api/contexts/update-worker-map/w1",
            "context set a=1 --worker w1 --job j1",
            "context_set",
            {"values": {"a": 1}, "worker": "w1", "job": "j1"},
            {"values": {"a": 1}, "job": "j1"},
        ),
        "invalid_params",
    ),
    (Call(INVOKE, "trigger invoke smoke_trigger", "trigger_invoke_smoke_trigger"), "invalid_params"),
    (
        Call(
            INVOKE,
            "trigger invoke smoke_trigger --set env=7",
            "trigger_invoke_smoke_trigger",
            {"env": 7},
            {"params": {"env": 7}},
        ),
        "invalid_params",
    ),
    (
        Call(
            INVOKE,
            "trigger invoke smoke_trigger --set env=a --set depth=0",
            "trigger_invoke_smoke_trigger",
            {"env": "a", "depth": 0},
            {"params": {"env": "a", "depth": 0}},
        ),
        "invalid_params",
    ),
    (
        Call(
            INVOKE,
            "trigger invoke smoke_trigger --set env=other --idempotency-key taken",
            "trigger_invoke_smoke_trigger",
            {"env": "other", "_idempotency_key": "taken"},
            {"params": {"env": "other"}, "idempotency_key": "taken"},
        ),
        "idempotency_mismatch",
    ),
]


@dataclass
class Doors:
    """The four ways in."""

    scene: stage.Stage
    mcp: stage.McpClient
    remote: stage.McpClient

    async def answers(self, call: Call) -> dict[str, stage.Answer]:
        method, path = call.http.split()
        out = {"http": await self.scene.http(method, path, TENANT, **call.body)}
        if call.cli:
            out["cli"] = await self.scene.cli(*shlex.split(call.cli), tenant=TENANT)
        if call.tool:
            out["mcp"] = await self.mcp.call(call.tool, **call.arguments)
            out["remote"] = await self.remote.call(call.tool, **call.arguments)
        elif call.cli:
            out["remote"] = await self.scene.cli(*shlex.split(call.cli), tenant=TENANT, remote=True)
        return out


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def doors(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Doors]:
    place = tmp_path_factory.mktemp("parity")
    shutil.copytree(EXAMPLES / "portal", place / "portal")
    packing.pack(place / "portal", title="Team")
    scene = stage.Stage(place / "home", SLUICE_PORTALS=f"team={place / 'portal'}")
    try:
        with anyio.fail_after(180):  # some seconds, on a machine that does nothing else
            await scene.start(workers=1)
            definition = EXAMPLES / "smoke_trigger.json"
            for words in (
                f"job put -f {HANDLER}",
                "job deploy smoke_trigger_handler",
                f"trigger publish -f {definition}",
                "trigger invoke smoke_trigger --set env=first --idempotency-key taken",
                f"workflow save -f {EXAMPLES / 'greetings.yaml'}",
                "workflow publish greetings",
                "workflow clone greetings",
                "catalog install printed-ticks",
                """kv set n p '{"a": 1}'""",
                "context set region=eu n=3 --job j1",
                "secret set web/token --from-env HOME",
            ):
                answer = await scene.cli(*shlex.split(words), tenant=TENANT)
                assert not answer.code, (words, answer)
            deployed = "plan seen --from workflow:quickstart-file-store-roundtrip --set path=spool"
            made = await scene.cli(*shlex.split(deployed), tenant=TENANT)
            answer = await scene.cli("apply", made.result["plan_id"], tenant=TENANT)
            assert not answer.code, answer
        async with (
            scene.mcp(TENANT, toolsets="all") as client,
            scene.mcp(TENANT, toolsets="all", remote=True) as remote,
        ):
            yield Doors(scene, client, remote)
    finally:
        with anyio.fail_after(30, shield=True):
            await scene.stop()


OWN = re.compile(r"plan_[0-9a-f]{16}|\d{4}-\d\d-\d\dT[0-9:.]+Z")
"""What texts say of ids and times."""


def steady(value: Any) -> Any:
    """A value without what differs from call to call: ids, times, the door."""
    if isinstance(value, dict):
        return {
            key: sorted(item) if key == "rates" else steady(item)  # what is counted each second moves meanwhile
            for key, item in value.items()
            if key not in VOLATILE | DIRECTIONS
            and not key.endswith(("_ns", "_at"))
            and key != "deduplicated"
            and not (key in {"total", "cursor"} and not value.get("items"))  # of a log, they move meanwhile
        }
    if isinstance(value, list):
        return [steady(item) for item in value]
    return OWN.sub("…", value) if isinstance(value, str) else value


@cases.table("call", VALUES, ids=str)
async def test_the_same_call_gives_the_same_value(doors: Doors, call: Call) -> None:
    with anyio.fail_after(60):
        answers = await doors.answers(call)
    assert {door: answer.code for door, answer in answers.items()} == dict.fromkeys(answers, "")
    first = call.tool in SETS  # at the doors after it, nothing changes any more
    told = {door: {**answer.result, **({"changes": []} if first else {})} for door, answer in answers.items()}
    wanted = steady(told["http"])
    for door, result in told.items():
        assert steady(result) == wanted, door
    assert wanted
    assert not first or [bool(answer.result["changes"]) for answer in answers.values()].count(True) <= 1


@cases.table(("call", "code"), FAULTS, ids=lambda value: str(value))
async def test_the_same_fault_has_the_same_code_and_pointers(doors: Doors, call: Call, code: str) -> None:
    with anyio.fail_after(60):
        answers = await doors.answers(call)
    assert {answer.code for answer in answers.values()} == {code}
    assert len({answer.pointers for answer in answers.values()}) == 1, answers


async def test_the_same_key_gives_the_same_invocation_behind_every_door(doors: Doors) -> None:
    call = Call(
        INVOKE,
        "trigger invoke smoke_trigger --set env=a --idempotency-key shared",
        "trigger_invoke_smoke_trigger",
        {"env": "a", "_idempotency_key": "shared"},
        {"params": {"env": "a"}, "idempotency_key": "shared"},
    )
    with anyio.fail_after(60):
        answers = await doors.answers(call)
    assert len({answer.result["invocation_id"] for answer in answers.values()}) == 1


async def test_a_rerun_is_the_same_behind_every_door(doors: Doors) -> None:
    with anyio.fail_after(60):
        first = (
            await doors.scene.http("POST", "/api/triggers/smoke_trigger/invoke", TENANT, params={"env": "a"})
        ).result
        id = first["invocation_id"]
        call = Call(
            f"POST /api/trigger-invocations/{id}/rerun",
            f"invocation rerun {id} --set depth=3",
            "trigger_invocation_rerun",
            {"invocation_id": id, "params": {"depth": 3}},
            {"params": {"depth": 3}},
        )
        answers = await doors.answers(call)
    for answer in answers.values():
        assert (answer.code, answer.result["rerun_of"], answer.result["params"]) == ("", id, {"env": "a", "depth": 3})
    assert len({answer.result["invocation_id"] for answer in answers.values()}) == len(answers)
