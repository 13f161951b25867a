"""Operations in the words of the command line: which command does each, and a call or a hint as what is typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson

VERBS: Mapping[str, str] = MappingProxyType(
    {
        # operation: the command; {argument} stands where a person types the value of that argument
        "audit_list": "audit",
        "callback_delivery_list": "invocation callbacks {invocation_id?}",
        "callback_redeliver": "invocation redeliver {event_id}",
        "catalog_get": "catalog show {slug}",
        "catalog_install": "catalog install {slug}",
        "catalog_portals": "catalog portals",
        "catalog_search": "catalog search {query?}",
        "catalog_uninstall": "catalog uninstall {slug}",
        "catalog_update": "catalog update {slug}",
        "call_preview": "mcp --allow-write",
        "context_delete": "context delete {keys?}",
        "context_get": "context get",
        "context_list": "context list",
        "context_set": "context set KEY=VALUE",
        "deployment_apply": "apply {plan_id}",
        "deployment_get": "status {name}",
        "deployment_history": "history {name}",
        "deployment_list": "status",
        "deployment_plan": "plan {name}",
        "deployment_reconcile": "reconcile {name}",
        "deployment_set": "deployment set {name}",
        "dsl_reference": "dsl {name?}",
        "engine_status": "doctor",
        "explain": "explain {kind} {id}",
        "gitops_apply": "gitops apply MANIFEST",
        "gitops_diff": "gitops diff MANIFEST",
        "gitops_export": "gitops import DIRECTORY",
        "gitops_promote": "gitops promote --from {from_environment} --to {to_environment}",
        "gitops_rollback": "gitops rollback --environment {environment}",
        "gitops_runs": "gitops runs {run_id?}",
        "gitops_status": "gitops status",
        "gitops_validate": "gitops validate MANIFEST",
        "job_clone": "job clone {name} {new_name}",
        "job_delete": "job delete {name}",
        "job_deploy": "job deploy {name}",
        "job_get": "job show {name}",
        "job_list": "job list",
        "job_log": "job log {name}",
        "job_metrics": "job metrics {name?}",
        "job_notifications_recent": "job notifications",
        "job_put": "job put -f FILE",
        "job_stage": "job stage {name}",
        "job_trace": "job trace FILE",
        "job_undeploy": "job undeploy {name}",
        "job_validate": "job validate -f FILE",
        "kv_dead_items": "kv dead-items {namespace} {action}",
        "kv_delete": "kv delete {namespace} {key}",
        "kv_get": "kv get {namespace} {key}",
        "kv_list": "kv list {namespace}",
        "kv_namespaces": "kv namespaces",
        "kv_queue": "kv queue {namespace}",
        "kv_watch": "kv watch {namespace}",
        "kv_set": "kv set {namespace} {key} {value}",
        "license_install": "license install FILE",
        "license_show": "license show",
        "mcp_activity_list": "mcp activity",
        "mcp_activity_record": "mcp --activity-forward",
        "mcp_notifications_transport_get": "mcp notifications",
        "message_search": "messages",
        "plan_discard": "plans discard {plan_id}",
        "plan_get": "plans show {plan_id}",
        "plan_list": "plans list",
        "schema_get": "schema {kind}",
        "secret_delete": "secret delete {name}",
        "secret_list": "secret list",
        "secret_rotate_key": "secret rotate-key",
        "secret_set": "secret set {name}",
        "token_create": "token create --username {username}",
        "token_list": "token list",
        "token_mint": "login",
        "token_revoke": "token revoke {id}",
        "trigger_deactivate": "trigger deactivate {slug}",
        "trigger_get": "trigger show {slug}",
        "trigger_invocation_get": "invocation get {invocation_id}",
        "trigger_invocation_list": "invocation list",
        "trigger_invocation_rerun": "invocation rerun {invocation_id}",
        "trigger_invoke": "trigger invoke {slug}",
        "trigger_list": "trigger list",
        "trigger_publish": "trigger publish -f FILE",
        "trigger_revise": "trigger revise {slug} -f FILE",
        "trigger_tools": "trigger tools",
        "usage_get": "usage",
        "variable_delete": "variable delete {name}",
        "variable_list": "variable list",
        "variable_set": "variable set {name} {value}",
        "whoami": "whoami",
        "worker_drain": "worker drain {name}",
        "worker_get": "worker show {name}",
        "worker_group_create": "group create {name}",
        "worker_group_delete": "group delete {name}",
        "worker_group_get": "group show {name}",
        "worker_group_list": "group list",
        "worker_group_update": "group update {name}",
        "worker_list": "worker list",
        "worker_remove": "worker remove {name}",
        "worker_resume": "worker resume {name}",
        "worker_update": "worker update {name}",
        "workflow_clone": "workflow clone {slug} {new_slug?}",
        "workflow_diff": "workflow diff {slug} {from_version?} {to_version?}",
        "workflow_get": "workflow show {slug}",
        "workflow_list": "workflow list {query?}",
        "workflow_publish": "workflow publish {slug}",
        "workflow_retire": "workflow retire {slug} {version}",
        "workflow_save_draft": "workflow save -f FILE",
        "workflow_validate": "workflow validate {slug?}",
    }
)
FLAGS: Mapping[str, str] = MappingProxyType(
    {
        # an argument whose flag is not --argument; a flag that ends in + is repeated for each NAME=VALUE or item
        "draft_only": "--draft",
        "interval_seconds": "--interval",
        "labels": "--label+",
        "params": "--set+",
        "placement": "--place+",
        "replicas": "--replicas+",
        "source": "--from",
        "tags": "--tag+",
        "tenant_id": "--tenant",
        "unset": "--unset+",
        "values": "--set+",
        "wait_seconds": "--wait",
        "wait_timeout_seconds": "--wait",
        "worker_group": "--group",
    }
)
_SOURCES = frozenset({"catalog_search", "workflow_list", "message_search"})  # here `source` is not what is deployed
_PLACE = re.compile(r"\{(\w+)(\??)\}")
_ARGUMENTS = MappingProxyType(
    {
        # arguments that hints speak of by name
        "approved_by": "--approved-by",
        "base_revision": "--base-revision",
        "dry_run": "--dry-run",
        "new_name": "NEW_NAME",
        "new_slug": "NEW_SLUG",
        "tenant_id": "--tenant",
        "worker_group": "--group",
    }
)


def path(operation: str) -> str:
    """The words of the command that does an operation, without its arguments; KeyError when nothing does."""
    words = VERBS[operation].split()
    return " ".join(word for word in words[:2] if re.fullmatch(r"[a-z][a-z-]*", word))


def command(operation: str, arguments: Mapping[str, Any]) -> str:
    """A call as what a person types, quoted for a shell; an operation without a command is shown as it is."""
    given = {name: value for name, value in arguments.items() if value is not None}
    form = VERBS.get(operation)
    if operation == "deployment_plan" and "to_revision" in given:
        form = "rollback {name} --to {to_revision}"
    elif operation == "deployment_get":
        given.pop("detail", None)  # `sluice status NAME` always shows all
    elif operation == "trigger_invocation_get" and given.pop("wait_seconds", None):
        form = "invocation watch {invocation_id}"
    if form is None:
        return f"{operation} {orjson.dumps(given, default=str).decode()}"

    def place(found: re.Match[str]) -> str:
        name, optional = found[1], found[2]
        if name in given:
            return shlex.quote(_text(given.pop(name)))
        return "" if optional else name.upper()

    words = _PLACE.sub(place, form).split(" ")
    for name, value in given.items():
        words += _flag(operation, name, value)
    return " ".join(["sluice", *filter(None, words)])


def _flag(operation: str, name: str, value: Any) -> list[str]:
    flag = FLAGS.get(name, "--" + name.replace("_", "-"))
    if name == "source" and operation in _SOURCES:
        flag = "--source"
    if value is True:
        return [flag]
    if value is False:
        return []
    if not flag.endswith("+"):
        return [flag, shlex.quote(_text(value))]
    items = [f"{key}={_text(part)}" for key, part in value.items()] if isinstance(value, Mapping) else map(_text, value)
    return [word for item in items for word in (flag[:-1], shlex.quote(item))]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


_NAMED = re.compile(
    r"\b(" + "|".join(sorted((name for name in VERBS if "_" in name), key=len, reverse=True)) + r")\b(?:\(([^()]*)\))?"
)
_ARGUMENT = re.compile(r"\b(" + "|".join(_ARGUMENTS) + r")\b")


def hint(text: str) -> str:
    """A hint of the engine, which names operations as an agent calls them, with commands in their place."""

    def name(found: re.Match[str]) -> str:
        return f"'{command(found[1], _called(found[2] or ''))}'"

    return _ARGUMENT.sub(lambda found: _ARGUMENTS[found[1]], _NAMED.sub(name, text))


def _called(text: str) -> dict[str, str]:
    """The arguments of `name='x', source=portal`; dots stand for what the reader knows."""
    pairs = (part.partition("=") for part in text.split(","))
    return {
        name.strip(): value.strip().strip("'\"")
        for name, mark, value in pairs
        if mark and value.strip() not in ("...", "…")
    }
