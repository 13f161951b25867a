"""The command of each operation: the one table from which commands, and the words for them, are made.

What an operation takes and means is said by its params model alone (see `arguments`); here is only what a terminal
adds, and where the functions are that commands need beside calling and showing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mcp_server.cli.arguments import Argument
from mcp_server.cli.form import Form, Switch

_NO_LABELS = Switch("labels", [], "Take its labels away.")
WAIT_SECONDS = 300  # for the end of a run of files
_EXIT_CODE = Argument("exit_code", "switch", "Exit with 2 when there are changes, with 5 when they cannot be applied.")
_FOLLOW = Argument("follow", "switch", "Keep printing what comes, until interrupted.")
_WATCH = Argument("watch", "switch", "Keep showing it: redrawn in place, or in a pipe a line for each change.")
_GRAPH = Argument("graph", "text", "Print its graph instead.", ("svg", "mermaid", "tree"))
_CALLBACK = (
    Argument("callback", "text", "Post each change of state to this address."),
    Argument("callback_header", "texts", "A header of these posts, NAME=VALUE."),
    Argument("callback_header_env", "texts", "The same with the value of an environment variable, NAME=VARIABLE."),
)
_RUN_ENDS = Argument("wait", "number", "How many seconds to wait for the end; the run goes on.", default=WAIT_SECONDS)
_MCP = "Serve MCP (the same as sluice-mcp), or connect an MCP client."
_BADLY = ("failed", "timed_out", "canceled")
_BINDING = "id kind name tenant role platform created_by created_at issuer"
_ACCOUNT = "name tenant roles keys description created_by created_at"
_GROUP = "name workers online slots capacity jobs tenants labels"


def outcome(run: Mapping[str, Any], given: Mapping[str, Any]) -> int:
    """The exit code for a run of a trigger: only one that was not to be waited for may still go on."""
    from mcp_server.cli import codes  # it brings the faults of the engine, which --help does without

    if run["state"] == "succeeded" or given.get("wait_timeout_seconds") == 0:
        return codes.FAILED if run["state"] in _BADLY else codes.OK
    return codes.FAILED if run["state"] in _BADLY else codes.UNFINISHED


def reconciled(done: Mapping[str, Any], given: Mapping[str, Any]) -> int:
    """The exit code for how a deployment stands after it was reconciled; who only looks is told and no more."""
    from mcp_server.cli import codes

    return codes.OK if given.get("dry_run") else codes.of_apply(done["state"], waited=given.get("wait_seconds") != 0)


FORMS: Mapping[str, Form] = MappingProxyType(
    {
        # deployments
        "deployment_plan": Form(
            "plan {name}",
            does="plans:plan",
            about="Compute what a deployment would change, and save it.",
            flags={"source": "--from", "to_revision": ""},
            texts={
                "placement": "Run a step in a group, STEP=GROUP, over what the workflow says.",
                "replicas": "How many copies of a step, STEP=N, over what the workflow says.",
            },
            beside=(
                _EXIT_CODE,
                Argument("tree", "switch", "Also show the steps as a tree: + new, ~ changed, > moved."),
            ),
        ),
        "deployment_reset": Form(
            "deployment reset {name} {step}",
            does="plans:reset",
            about="Plan from where a step reads on, and save the plan.",
            beside=(_EXIT_CODE,),
        ),
        "deployment_apply": Form(
            "apply {plan_id}",
            texts={"wait_seconds": "How long to wait for the outcome, 60 when left out; 0 returns at once."},
            makes="deployments:waiting",
            does="applying:apply",
            about="Carry out a saved plan, or what the file of one trigger or job says.",
            beside=(
                Argument("file", "text", "In place of a plan: a trigger or a job, or - for standard input."),
                Argument("yes", "switch", "With --file: do not ask."),
            ),
            flags={"file": "--file -f", "yes": "--yes -y"},
            optional=("plan_id",),
        ),
        "deployment_list": Form(
            "status",
            by="deployments:status",
            about="Show deployments, or one of them with its workloads and drift.",
            flags={"include_removed": "--removed"},
        ),
        "deployment_get": Form("status {name}", by="deployments:status"),
        "deployment_history": Form(
            "history {name}",
            texts={"compare": "Two revisions, old and new, to compare: --compare 2,3; of one, with the present one."},
            reads={"compare": "deployments:revisions"},
            shows="deployments:history",
        ),
        "deployment_reconcile": Form(
            "reconcile {name}", bar="reconciling", shows="deployments:reconciled", fails=reconciled
        ),
        "deployment_set": Form(
            "deployment set {name}",
            switches={"--ignore-nothing": Switch("ignore", [], "Leave no drift alone any more.")},
        ),
        "plan_list": Form(
            "plans list",
            columns="plan_id name state blockers created_at expires_at by base_revision",
            empty="No plan is saved.",
        ),
        "plan_get": Form("plans show {plan_id}", shows="plans:show"),
        "plan_discard": Form("plans discard {plan_id}", columns="plan_id name state"),
        "explain": Form("explain {kind} {id}", shows="explain:show"),
        # the catalog, and what is written on top of it
        "catalog_search": Form("catalog search {query}", shows="catalog:found"),
        "catalog_get": Form(
            "catalog show {slug}",
            does="catalog:show",
            beside=(_GRAPH, Argument("document", "switch", "Print its document instead; of a library job, the job.")),
            flags={"document": "--document"},
        ),
        "catalog_portals": Form("catalog portals", shows="portals:listed"),
        "catalog_install": Form("catalog install {slug}", shows="portals:installed"),
        "catalog_update": Form("catalog update {slug}", by="portals:update"),
        "catalog_uninstall": Form("catalog uninstall {slug}", columns="type slug uninstalled"),
        "palette_get": Form("workflow palette {query}", shows="workflows:palette"),
        "workflow_list": Form(
            "workflow list {query}",
            columns="slug type version states draft_revision title source updated_by",
            empty="Nothing fits. Save one with: sluice workflow save -f workflow.yaml",
        ),
        "workflow_get": Form("workflow show {slug}", does="workflows:show", flags={"detail": ""}, beside=(_GRAPH,)),
        "workflow_save_draft": Form("workflow save -f {document}", shows="workflows:saved"),
        "workflow_validate": Form(
            "workflow validate {slug}",
            faults_in="draft of {slug}",
            makes="workflows:no_file",
            shows="workflows:validated",
            fails=lambda found, _: not found["valid"],
        ),
        "workflow_publish": Form("workflow publish {slug}", shows="workflows:published"),
        "workflow_clone": Form("workflow clone {slug} {new_slug}", shows="workflows:cloned"),
        "workflow_diff": Form("workflow diff {slug} {from_version} {to_version}", shows="workflows:differing"),
        "workflow_trace": Form(
            "workflow trace {source}",
            optional=("source",),
            reads={"events": "trace:events"},
            texts={"events": "A file of events: JSON lines or one JSON array; - for standard input."},
            makes="workflows:no_file",
            shows="trace:walked",
            fails=lambda seen, _: any(one["errors"] for one in seen["steps"]),
        ),
        "workflow_retire": Form("workflow retire {slug} {version}", columns="type slug version state changed"),
        # an environment as files
        "gitops_validate": Form("gitops validate MANIFEST", by="gitops:validate"),
        "gitops_diff": Form("gitops diff MANIFEST", by="gitops:diff"),
        "gitops_apply": Form("gitops apply MANIFEST", by="gitops:apply"),
        "gitops_promote": Form(
            "gitops promote --from {from_environment} --to {to_environment}",
            does="gitops_runs:promote",
            flags={
                "from_environment": "--from",
                "to_environment": "--to",
                "health_seconds": "--health",
                "wait_seconds": "",
            },
            beside=(_RUN_ENDS,),
            named=True,
        ),
        "gitops_rollback": Form(
            "gitops rollback --environment {environment}",
            does="gitops_runs:rollback",
            flags={"health_seconds": "--health", "wait_seconds": ""},
            beside=(_RUN_ENDS,),
            named=True,
        ),
        "gitops_runs": Form("gitops runs {run_id}", shows="gitops_runs:listed"),
        "gitops_status": Form("gitops status", shows="gitops_runs:stands"),
        "gitops_export": Form("gitops import DIRECTORY", by="gitops:import_"),
        # single jobs
        "job_list": Form(
            "job list",
            idle=True,
            columns="name version draft managed_by workloads",
            empty="There are no jobs. Store one with: sluice job put -f job.yaml",
        ),
        "workload_list": Form(
            "workload list",
            columns="workload state health worker since restarts reason! step group deployment",
            empty="Nothing that fits is wanted on a worker.",
        ),
        "job_get": Form(
            "job show {name}",
            reads={"compare": "jobs:compared"},
            texts={"compare": "Show what changed since this version; draft shows what the draft changes."},
            idle=True,
            shows="jobs:show",
        ),
        "job_log": Form(
            "job log {name}",
            does="job_log:log",
            flags={"after": "", "wait_seconds": ""},
            beside=(_FOLLOW,),
            named=False,
        ),
        "log_search": Form(
            "logs {of}",
            does="job_log:logs",
            flags={"text": "--grep", "after": "", "wait_seconds": ""},
            beside=(_FOLLOW,),
            named=False,
        ),
        "tenant_metrics": Form("job measures", shows="series:families"),
        "job_metrics": Form("job metrics {name}", shows="job_log:metrics"),
        "series_get": Form("series {of}", shows="series:graphs"),
        "job_notifications_recent": Form(
            "job notifications",
            columns="at kind message_type source tag job_name worker_id message_data",
            empty="No job has reported anything.",
        ),
        "job_validate": Form(
            "job validate -f {document}", shows="jobs:validated", fails=lambda found, _: not found["valid"]
        ),
        "job_trace": Form(
            "job trace {document}",
            flags={"name": "--job"},
            reads={"events": "trace:events", "message": "trace:message"},
            texts={
                "events": "A file of events: JSON lines or one JSON array; - for standard input.",
                "message": "The payload for ${msg|...} as JSON.",
            },
            shows="trace:show",
            fails=lambda seen, _: bool(seen["errors"]),
        ),
        "job_put": Form("job put -f {document}", shows="jobs:put"),
        "job_stage": Form("job stage {name}", faults_in="draft of {name}"),
        "job_deploy": Form(
            "job deploy {name}",
            switches={"--no-wait": Switch("wait_seconds", 0, "Do not wait for it.")},
            bar="deploying",
            shows="jobs:deployed",
            fails=lambda made, given: given.get("wait_seconds") != 0 and bool(unfit(made)),
        ),
        "job_undeploy": Form("job undeploy {name}"),
        "job_clone": Form("job clone {name} {new_name}", shows="jobs:cloned"),
        "job_delete": Form("job delete {name}"),
        # when jobs run by the clock
        "schedule_list": Form(
            "schedule list",
            columns="name state schedule next last_scheduled missed skipped on_time deployment",
            empty="No job that is deployed runs by an interval or cron.",
        ),
        "schedule_get": Form("schedule show {name}", shows="schedules:show"),
        "job_run_now": Form(
            "schedule run {name}", bar="running", fails=lambda done, _: bool(done["ended"] and not done["ended"]["ok"])
        ),
        "schedule_pause": Form("schedule pause {name}", shows="schedules:show"),
        "schedule_resume": Form("schedule resume {name}", shows="schedules:show"),
        "schedule_backfill": Form(
            "schedule backfill {name} --since {since} --until {until}",
            flags={"since": "--since", "until": "--until"},
            shows="schedules:backfilled",
        ),
        "dsl_reference": Form("dsl {name}", by="reference:dsl"),
        "schema_get": Form("schema {kind}", shows="reference:schema"),
        # triggers and their runs
        "trigger_list": Form(
            "trigger list",
            columns="slug active may_run revision target_job_name target_up effect display_name tool_name tenant_id",
            empty="There are no triggers. Publish one with: sluice trigger publish -f trigger.json",
        ),
        "trigger_get": Form("trigger show {slug}", shows="triggers:show"),
        "trigger_tools": Form("trigger tools", flags={"known_version": ""}, shows="triggers:tools"),
        "trigger_publish": Form("trigger publish -f FILE", by="triggers:publish"),
        "trigger_revise": Form("trigger revise {slug} -f FILE", by="triggers:revise"),
        "trigger_deactivate": Form("trigger deactivate {slug}"),
        "trigger_invoke": Form(
            "trigger invoke {slug}",
            flags={"file": "--file -f"},
            beside=(
                Argument(
                    "file",
                    "text",
                    "Its parameters as one JSON or YAML object, or - for standard input; --set goes over it.",
                ),
                *_CALLBACK,
            ),
            makes="triggers:with_params",
            bar="running",
            shows="invocations:show",
            fails=outcome,
        ),
        "trigger_invocation_get": Form(
            "invocation get {invocation_id}", flags={"wait_seconds": ""}, shows="invocations:show"
        ),
        "trigger_invocation_list": Form(
            "invocation list",
            flags={"slug": "--trigger"},
            beside=(_WATCH,),
            columns="invocation_id trigger_slug state requested_at duration_ms caller surface attempts"
            " trigger_revision rerun_of finished_at",
            empty="There are no invocations that fit. Make one with: sluice trigger invoke SLUG",
        ),
        "trigger_invocation_rerun": Form(
            "invocation rerun {invocation_id}",
            beside=_CALLBACK,
            makes="invocations:with_callback",
            bar="repeating",
            shows="invocations:show",
            fails=outcome,
        ),
        "trigger_invocation_cancel": Form(
            "invocation cancel {invocation_id}",
            bar="canceling",
            shows="invocations:show",
            fails=lambda run, _: run["state"] != "canceled",
        ),
        "run_list": Form(
            "runs list {job}",
            columns="run_id job state cause started_at events_in events_out refused reason! count ended_at by",
            empty="There are no runs that fit.",
        ),
        "run_get": Form("runs show {run_id}"),
        "run_cancel": Form("runs cancel {run_id}", bar="canceling", fails=lambda done, _: done["state"] != "canceled"),
        "callback_delivery_list": Form("invocation callbacks {invocation_id}", shows="invocations:deliveries"),
        "callback_redeliver": Form("invocation redeliver {event_id}"),
        "message_search": Form(
            "messages",
            does="messages:messages",
            about="Search the message log, or follow it.",
            beside=(_FOLLOW, Argument("export", "switch", "Print all that fit as lines of JSON, the oldest first.")),
        ),
        # dead letters
        "dead_letter_list": Form(
            "letters list",
            columns="id at job step code reason! status attempts",
            empty="No event was refused, or nobody kept it.",
        ),
        "dead_letter_get": Form("letters show {id}"),
        "dead_letter_export": Form(
            "letters export", does="letters:export", flags={"cursor": "", "limit": ""}, named=False
        ),
        "dead_letter_replay": Form("letters replay {ids}", flags={"step": "--from"}),
        "dead_letter_discard": Form("letters discard {ids}"),
        # what jobs find around them
        "context_set": Form(
            "context set {values}",
            texts={"values": "What reads as JSON is that, else it is text. Other keys of the place stay."},
        ),
        "context_get": Form("context get", shows="contexts:effective"),
        "context_list": Form(
            "context list",
            columns="key value level target updated_at updated_by",
            empty="Nothing is set. Set a value with: sluice context set KEY=VALUE",
        ),
        "context_history": Form(
            "context history", columns="at key! by level target old new surface", empty="Nothing was changed there."
        ),
        "context_delete": Form(
            "context delete {keys}",
            switches={
                "--every": Switch("keys", None, "All keys of the place, instead of naming them.", ("--no-every",))
            },
            texts={"keys": "Which keys."},
        ),
        "secret_set": Form(
            "secret set {name}",
            about="Set a secret, from standard input, a file or a variable.",
            flags={"value": ""},
            beside=(
                Argument("from_file", "path", "Read the value from this file."),
                Argument("from_env", "text", "Read the value from this environment variable."),
            ),
            makes="secrets:with_value",
        ),
        "secret_list": Form(
            "secret list",
            columns="name version updated_at updated_by used_by",
            empty="There are no secrets. Set one with: sluice secret set SCOPE/NAME --from-file FILE",
        ),
        "secret_delete": Form("secret delete {name}", flags={"force": "--force --no-force"}),
        "secret_rotate_key": Form("secret rotate-key", fails=lambda done, _: bool(done["unreadable"])),
        "variable_set": Form("variable set {name} {value}"),
        "variable_list": Form(
            "variable list",
            columns="name value updated_at updated_by",
            empty="There are no variables. Set one with: sluice variable set NAME VALUE",
        ),
        "variable_delete": Form("variable delete {name}"),
        "kv_namespaces": Form("kv namespaces", columns="namespace depth leased dead", empty="No job keeps anything."),
        "kv_list": Form("kv list {namespace}", columns="key value revision expires_at", empty="There are no values."),
        "kv_get": Form("kv get {namespace} {key}"),
        "kv_watch": Form(
            "kv watch {namespace}",
            does="kv:watch",
            flags={"watch": "", "wait_seconds": ""},
            beside=(Argument("seconds", "whole", "Stop after this time."),),
            named=False,
        ),
        "kv_set": Form(
            "kv set {namespace} {key} {value}",
            texts={"value": "JSON; what is no JSON is a text."},
            flags={"format": ""},
            beside=(Argument("raw", "switch", "Keep the text as it is."),),
            makes="kv:with_value",
            fails=lambda done, _: not done["done"],
        ),
        "kv_delete": Form("kv delete {namespace} {key}"),
        "kv_queue": Form("kv queue {namespace}", shows="kv:queue"),
        "kv_dead_items": Form("kv dead-items {namespace} {action}"),
        # workers
        "worker_list": Form(
            "worker list",
            beside=(_WATCH,),
            columns="name kind group state pid slots jobs labels sandbox last_heartbeat_at",
            empty="There are no workers. 'sluice serve' starts two.",
        ),
        "worker_get": Form("worker show {name}", shows="workers:show"),
        "worker_update": Form(
            "worker update {name}", switches={"--no-labels": _NO_LABELS}, bar="updating", shows="workers:moved"
        ),
        "worker_drain": Form("worker drain {name}", bar="draining", shows="workers:moved"),
        "worker_resume": Form("worker resume {name}", shows="workers:moved"),
        "worker_remove": Form("worker remove {name}"),
        "worker_token_create": Form("worker-token create", flags={"tenants": "--admit"}, shows="tokens:created"),
        "worker_token_list": Form(
            "worker-token list",
            columns="id group name usable used uses approval expires_at can tenants ephemeral created_by revoked_at",
            empty="There are no worker tokens. 'sluice worker-token create' makes one.",
        ),
        "worker_token_revoke": Form("worker-token revoke {id}"),
        "worker_credential_list": Form(
            "worker credentials",
            columns="name state group key generation address can tenants created_at decided_by id token",
            empty="There is no such credential. 'sluice worker-token create' is how a worker is let in.",
        ),
        "worker_secrets": Form(
            "worker secrets {name}",
            columns="secret tenant version changed last_given_at first_given_at",
            empty="This worker was given no secret.",
        ),
        "nats_config": Form("nats-config", shows="reference:configuration"),
        "worker_approve": Form("worker approve {name}"),
        "worker_revoke": Form("worker revoke {name}", bar="revoking", shows="workers:revoked"),
        "worker_group_list": Form("group list", columns=_GROUP, empty="There are no worker groups."),
        "worker_group_get": Form("group show {name}", shows="worker_groups:show"),
        "worker_group_create": Form("group create {name}", flags={"tenants": "--admit"}, columns=_GROUP),
        "worker_group_update": Form(
            "group update {name}",
            flags={"tenants": "--admit"},
            switches={"--no-labels": _NO_LABELS},
            columns=_GROUP,
        ),
        "worker_group_delete": Form("group delete {name}"),
        "worker_group_rebalance": Form(
            "group rebalance {name}",
            does="plans:rebalance",
            about="Plan to spread what runs over the workers of a group, and save the plans.",
            beside=(_EXIT_CODE,),
            named=True,
        ),
        # who may do what, and who did
        "whoami": Form("whoami"),
        "token_create": Form(
            "token create --username {username}",
            makes="tokens:with_tenants",
            shows="tokens:created",
            flags={"username": "--username", "tenants": "--member", "scopes": "--scope"},
        ),
        "token_list": Form(
            "token list",
            columns="id username role name expires_at last_used_at revoked tenants scopes platform created_at made_by",
            empty="There are no tokens.",
        ),
        "token_revoke": Form("token revoke {id}"),
        "role_binding_create": Form(
            "role bind {role}",
            flags={"tenant": "--in"},
            columns=_BINDING,
        ),
        "role_binding_list": Form(
            "role list", columns=_BINDING, empty="There are no role bindings: nobody can sign in with a provider."
        ),
        "role_binding_delete": Form("role unbind {id}"),
        "service_account_create": Form("service-account create {name}", columns=_ACCOUNT),
        "service_account_list": Form("service-account list", columns=_ACCOUNT, empty="There are no service accounts."),
        "service_account_delete": Form("service-account delete {name}"),
        "service_account_key_create": Form(
            "service-account key {name}", shows="tokens:created", flags={"scopes": "--scope"}
        ),
        "token_mint": Form("login", by="login:login", about="Log in to a remote engine with an API key, for a while."),
        "login_device_approve": Form("approve-login {user_code}"),
        "console_link_create": Form(
            "console", by="console:console", about="Open the console in a browser, signed in as you."
        ),
        "audit_list": Form(
            "audit",
            columns="at username operation decision target reason! role surface label",
            empty="Nothing is on record.",
        ),
        "usage_get": Form("usage", idle=True, columns="what records bytes most_bytes setting"),
        "license_show": Form("license show", shows="license:show"),
        "license_install": Form(
            "license install {document}",
            texts={
                "document": "The license file, or - for standard input. Its signer is one of the setting license_keys."
            },
            shows="license:show",
        ),
        "engine_status": Form(
            "doctor", by="doctor:doctor", about="Check this machine, the home directory and the engine."
        ),
        "settings_get": Form("settings", by="settings:settings"),
        "engine_metrics": Form("metrics", shows="series:families"),
        # MCP
        "mcp_activity_list": Form(
            "mcp activity",
            columns="at username tool outcome duration_ms role label transport",
            empty="No session has told of a call. Sessions do with: sluice mcp --activity-forward",
        ),
        "mcp_activity_record": Form("mcp --activity-forward", by="mcp:app", about=_MCP, named=True),
        "mcp_notifications_transport_get": Form("mcp notifications", shows="reference:sections"),
        "call_preview": Form("mcp --allow-write", by="mcp:app", about=_MCP, named=True),
    }
)

PARTS: Mapping[str, tuple[str, Form]] = MappingProxyType(
    {
        # commands that do a part of what an operation can, with it
        "rollback": (
            "deployment_plan",
            Form(
                "rollback {name} --to {to_revision}",
                about="Plan the way back to an earlier revision.",
                does="plans:plan",
                only=("name", "to_revision", "detail"),
                flags={"to_revision": "--to"},
                beside=(_EXIT_CODE,),
            ),
        ),
        "watch": (
            "trigger_invocation_get",
            Form(
                "invocation watch {invocation_id}",
                about="Tell what happens to an invocation until it has ended.",
                does="invocations:watch",
                only=("invocation_id",),
                beside=(
                    Argument("timeout", "number", "Give up after so many seconds; else watch as long as it takes."),
                ),
            ),
        ),
    }
)


def unfit(made: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The workloads of a job that are not as its deployment wants them."""
    return [workload for workload in made["workloads"] if workload["state"] not in ("running", "completed")]
