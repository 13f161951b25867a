"""Every operation that changes something: it says so in the audit log, in the transaction of its change; what it
answers holds a credential only where the registry says so; and what it destroys, it tells before.

All of them are carried out once, in an order that makes sense. Of every write to the store the tests know which
operation asked for it, which tables it changed, and whether an audit row was among them: a change of what users own
without one fails, as does a new operation that is not carried out here.
"""

from __future__ import annotations

import base64
import contextvars
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from core import errors
from core.engine import Engine
from core.model.enrolment import TOKEN_PATTERN
from core.model.kv import Namespace
from core.model.operation import Effect
from core.model.principal import SYSTEM, Caller, Principal, Role, Surface
from core.model.worker_group import External
from core.operations import REGISTRY
from core.store import audit, external_workers, workloads
from core.triggers import posting
from core.workflows import packing
from tests import test_license, waiting
from tests.dsl import web
from tests.engines import EXAMPLES, engine_on
from tests.furnished import enrol
from tests.operations import test_gitops as git
from tests.portals import DOCUMENTS, ticks
from tests.triggers.rig import SILENT

pytestmark = pytest.mark.anyio

ALICE = Caller(Principal("alice", Role.ADMIN, ("*",), platform=True), "tenant-a", Surface.HTTP)
HANDLER = (EXAMPLES / "smoke_trigger_handler.yaml").read_text(encoding="utf-8")
JOB = "name: a_job\ninput: {echo: {event: x, trigger: {interval: {duration: 1h}}}}\noutput: {print: STDOUT}\n"
REFUSING = "name: refusing\ninput: {echo: {event: x}}\noutput: {print: {input-field: missing}}\n"
FLOW = """\
kind: workflow
slug: a-flow
title: %s
channels: {c: {transport: file-store, with: {path: spool}}}
steps:
  - {id: beat, use: "blueprint:echo-source@1.0.0", with: {event: "{}", interval: 1h}, out: channel:c}
  - {id: print, use: "blueprint:file-printer@1.0.0", in: channel:c}
"""
TRIGGER = {"slug": "a-trigger", "target_job_name": "smoke_trigger_handler", "target_message_tag": "smoke.invoke"}
WAITS = "name: waits\ninput: {echo: {event: a, trigger: {interval: {duration: 1h}}}}\noutput: {worker-channel: none}\n"
RUN = {"slug": "a-trigger", "params": {}, "wait_timeout_seconds": 5}

NOTED_ELSEWHERE = {
    "mcp_activity_record": "what it records is itself a record of who called what",
    "call_once": "the book-keeping of an idempotency key; the write that has the key is noted",
    "console_link_create": "is kept in memory, and noted before",
    "token_mint": "changes nothing in the store, and is noted all the same",
    "login_device_approve": "is kept in memory, and noted before",
    **dict.fromkeys(("login_complete", "login_end"), "take a provider: tests/identity/test_signing_in.py"),
    "mcp_grant_approve": "is kept in memory, and noted before",
    "secret_rotate_key": "is noted before the first of its pieces",
    "worker_group_rebalance": "saves plans as deployment_plan does (deployments/test_leveling.py)",
    "license_install": "changes a file, and is noted after it",
    **dict.fromkeys(
        ("dead_letter_replay", "dead_letter_discard"), "changes the file of the dead letters, and is noted before"
    ),
}
BY_THE_ENGINE = {
    *("callback_deliveries", "dispatches", "license", "messages", "workloads"),
    *("conditions", "transitions", "outages", "schedules", "schedule_orders", "runs"),
}
"""What the engine writes about what runs, and what it last read of the license file, while and after somebody asked for
something: observations, no wishes."""
IN_STEPS = {
    # What goes on after the transaction that has the audit row, in steps that a next start takes up.
    ("deployment_apply", "deployments"): "the state moves on when its workloads are up",
    ("deployment_reconcile", "deployments"): "the same",
    ("secret_rotate_key", "secrets"): "a piece at a time",
    ("trigger_invocation_cancel", "invocations"): "the end, when its worker has confirmed that it stopped",
    **dict.fromkeys(
        [(f"gitops_{action}", f"gitops_{table}") for action in ("apply", "promote", "rollback")
         for table in ("runs", "events", "items")],
        "the record of the run itself; each change that it makes has a row of its own",
    ),
    **{(f"gitops_{action}", "deployments"): "as for an apply" for action in ("apply", "promote", "rollback")},
}  # fmt: skip
AUDIT = "audit"
MADE_AT_FIRST_USE = {"jwt.key", "secrets.key", "engine.identity"}
OF_TENANTS = {
    "tokens": "each has its tenants, and grants.py keeps its maker within their own",
    **dict.fromkeys(("mcp_grants", "mcp_access"), "by their token"),
    "callback_targets": "by the invocation that they are called back for",
    "gitops_events": "by their run",
    **dict.fromkeys(("kv_entries", "kv_members", "kv_items", "kv_leases"), "their namespace begins with the tenant"),
    "kv_revision": "one counter, of which nobody sees more than that it grows",
}
"""Tables without a column `tenant` that hold what belongs to tenants all the same."""

asked_by: contextvars.ContextVar[str] = contextvars.ContextVar("asked_by", default="")
_CHANGES = re.compile(
    r"\s*(?:WITH\b.*?\)\s+)?(?:INSERT(?:\s+OR\s+\w+)?\s+INTO|UPDATE(?:\s+OR\s+\w+)?|DELETE\s+FROM|REPLACE\s+INTO)\s+[\[\"`]?(\w+)",
    re.I | re.S,
)


@dataclass
class Write:
    """One write to the store: who asked for it, and how many rows of which tables it changed."""

    operation: str
    tables: set[str] = field(default_factory=set)
    deletes: set[str] = field(default_factory=set)  # those of them that rows were deleted from
    noted: list[tuple[str, str]] = field(default_factory=list)  # (operation, decision) of its audit rows


class Recorder:
    """Watches every write of an engine's store."""

    def __init__(self, engine: Engine) -> None:
        self.writes: list[Write] = []
        self._database = engine.database
        self._statements: list[str] = []
        self._add = engine.database._add
        engine.database._writer.conn.set_trace_callback(self._statements.append)
        engine.database._add = self.add  # type: ignore[method-assign]

    def add(self, asked: tuple[Any, tuple[Any, ...], Any], *, short: bool) -> None:
        fn, args, done = asked
        write = Write(asked_by.get())

        def watched(db: Any, *args: Any) -> Any:
            last = db.conn.execute("SELECT coalesce(max(rowid), 0) FROM audit").fetchone()[0]
            self._statements.clear()
            try:
                return fn(db, *args)
            finally:
                before = db.conn.total_changes
                for text in tuple(self._statements):
                    match = _CHANGES.match(text)
                    if match:
                        write.tables.add(match[1].lower())
                        if text.lstrip().upper().startswith("DELETE"):
                            write.deletes.add(match[1].lower())
                rows = db.conn.execute("SELECT operation, decision FROM audit WHERE rowid > ?", (last,)).fetchall()
                write.noted = [tuple(row) for row in rows]
                assert db.conn.total_changes == before
                self.writes.append(write)

        self._add((watched, args, done), short=short)


@dataclass
class Carried:
    """All operations that write, carried out once."""

    writes: list[Write]
    calls: Calls
    credentials: dict[str, set[str]]
    """By operation, the keys of its answers whose value opens a door."""
    shared: set[str]
    """The tables whose rows do not say whose they are."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def carried(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Carried]:
    folder = tmp_path_factory.mktemp("writes")
    with pytest.MonkeyPatch.context() as patch, anyio.fail_after(120):
        patch.setattr(posting, "PAUSES_SECONDS", (0.01,) * 4)
        async with _engine(folder) as engine:
            recorder, do = Recorder(engine), Calls(engine)
            await _jobs_and_triggers(do, engine)
            await _workflows_and_deployments(do, engine, folder / "shop")
            await _values(do, engine)
            await _administration(do, engine)
            await _gitops(do)
            yield Carried(recorder.writes, do, do.credentials, await engine.database.read(_shared))


def _shared(db: Any) -> set[str]:
    shared = {table.name for table in db.tables if all(column.name != "tenant" for column in table.columns)}
    return shared - set(OF_TENANTS) - BY_THE_ENGINE - {AUDIT}


@asynccontextmanager
async def _engine(folder: Path) -> AsyncIterator[Engine]:
    shop = folder / "shop"
    shop.mkdir()
    for kind, text in DOCUMENTS.items():
        (shop / f"{kind}.yaml").write_text(text, encoding="utf-8")
    packing.pack(shop, title="Shop", author="The shop")
    settings: dict[str, Any] = {"portals": (f"shop={shop}",), "egress_allow": ("127.0.0.0/8",)}
    settings |= {"public_url": "https://sluice.example", "mcp_clients": ("host=http://127.0.0.1/",)}
    async with engine_on(folder / "home", workers=0) as before:  # when a worker of another machine was there
        await before.database.write(external_workers.keep, External("edge-1", "default", 4), 1, _note(before))
    async with engine_on(folder / "home", workers=2, license_keys=(test_license.PUBLIC,), **settings) as made:
        yield made


def _note(engine: Engine) -> tuple[Any, ...]:
    return audit.row(engine.ids.next(), ALICE, "worker_join", "edge-1")


class Calls:
    """Calls operations in the name of the test, and remembers which ones."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.made: set[str] = set()
        self.credentials: dict[str, set[str]] = {}
        self.questions: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
        self.files: dict[str, set[str]] = {}
        """By operation, the files of the home that it changed, besides the database, the logs of jobs and the lock,
        which the engine touches each second."""

    def _kept(self) -> dict[str, tuple[int, int]]:
        home = self._engine.settings.home
        engines = ("sluice.db", "logs.db", "letters.db", "series.db", "engine.lock")
        files = [file for file in home.iterdir() if file.is_file() and not file.name.startswith(engines)]
        return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}

    async def __call__(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        self.made.add(name)
        caller = arguments.pop("as_", ALICE)
        if REGISTRY[name].effect is Effect.DESTRUCTIVE:
            arguments |= await self._ask(name, arguments, caller)
        token, before = asked_by.set(name), self._kept()
        try:
            answer = await self._engine.call(name, arguments, caller)
        finally:
            asked_by.reset(token)
        changed = {file for file, _ in before.items() ^ self._kept().items()}
        if changed := changed - (MADE_AT_FIRST_USE - before.keys()):
            self.files[name] = changed
        for key, value in answer.items():
            if await self._opens(orjson.dumps(value).decode()):
                self.credentials.setdefault(name, set()).add(key)
        return answer

    async def _ask(self, name: str, arguments: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """What a user would be asked, which is remembered; the arguments that hold the call to it."""
        token = asked_by.set("call_preview")
        try:
            said = await self._engine.call("call_preview", {"operation": name, "arguments": arguments}, caller)
        finally:
            asked_by.reset(token)
        self.questions.setdefault(name, []).append((arguments, said))
        return dict(said["loss"]["pinned"]) if said["loss"] else {}

    async def _opens(self, text: str) -> bool:
        """Whether a text holds something that the doors would take as a credential."""
        for word in re.findall(r"[\w.-]{20,4096}", text):
            if self._engine.links.knows(word) or re.fullmatch(TOKEN_PATTERN, word):
                return True
            try:
                await self._engine.call("token_verify", {"token": word}, SYSTEM)
            except errors.Unauthenticated:
                continue
            return True
        return False


async def _jobs_and_triggers(do: Calls, engine: Engine) -> None:
    await do("job_put", document=HANDLER)
    await do("job_deploy", name="smoke_trigger_handler")
    await do("job_put", document=JOB)
    await do("job_put", document=JOB + "# later\n", draft=True)
    await do("job_stage", name="a_job")
    await do("job_clone", name="a_job", new_name="another_job")
    await do("job_deploy", name="a_job")
    await do("schedule_pause", name="a_job", reason="for a while")
    await do("schedule_resume", name="a_job")
    await do("job_run_now", name="a_job", wait_seconds=30)
    await do("schedule_backfill", name="a_job", since="3h", until="1h")
    await do("job_undeploy", name="a_job")
    await do("job_delete", name="another_job")
    await do("job_put", document=REFUSING)
    await do("job_deploy", name="refusing")
    await waiting.until(lambda: engine.letterbox.box("tenant-a", "refusing").waiting)
    await do("dead_letter_replay", job="refusing")
    await do("dead_letter_discard", job="refusing")
    await do("trigger_publish", **TRIGGER)
    await do("trigger_revise", **TRIGGER, description="again")
    async with web.serve(web.answer(404)) as site:
        run = await do("trigger_invoke", **RUN, callback={"url": site.url()})
        while True:
            given = {"invocation_id": run["invocation_id"]}
            told = (await engine.call("trigger_invocation_get", given, ALICE))["callbacks"]
            if told and all(one["outcome"] == "dead" for one in told):
                break
        await do("callback_redeliver", event_id=told[0]["event_id"])
    await do("trigger_invocation_rerun", invocation_id=run["invocation_id"], wait_timeout_seconds=5)
    await do("job_put", document=SILENT)
    await do("job_deploy", name="smoke_trigger_handler")
    await do("trigger_revise", **TRIGGER, response_slot="never")
    open_run = await do("trigger_invoke", **{**RUN, "wait_timeout_seconds": 0})
    await do("trigger_invocation_cancel", invocation_id=open_run["invocation_id"], reason="enough")
    await do("job_put", document=WAITS)
    await do("job_deploy", name="waits")
    found = await waiting.until(lambda: engine.call("run_list", {"job": "waits"}, ALICE), lambda found: found["items"])
    await do("run_cancel", run_id=found["items"][0]["run_id"], reason="enough")
    await do("trigger_deactivate", slug="a-trigger")


async def _workflows_and_deployments(do: Calls, engine: Engine, shop: Path) -> None:
    await do("workflow_save_draft", document=FLOW % "First")
    await do("workflow_publish", slug="a-flow")
    await do("workflow_clone", slug="a-flow", new_slug="its-copy")
    await do("workflow_save_draft", document=FLOW % "Second")
    await do("workflow_publish", slug="a-flow")
    plan = await do("deployment_plan", name="a-place", source="workflow:a-flow@2")
    await do("deployment_apply", plan_id=plan["plan_id"])
    await do("deployment_reset", name="a-place", step="print", to="beginning")
    await do("deployment_set", name="a-place", interval_seconds=600)
    (job, *_) = (await engine.call("deployment_get", {"name": "a-place"}, ALICE))["workloads"]
    await engine.database.write(workloads.replace, "tenant-a", "a-place", job["job"], [])
    assert (await do("deployment_reconcile", name="a-place"))["drift"]
    plan = await do("deployment_plan", name="a-place", remove=True)
    await do("plan_discard", plan_id=plan["plan_id"])
    plan = await do("deployment_plan", name="a-place", remove=True)
    await do("deployment_apply", plan_id=plan["plan_id"])
    await do("workflow_retire", slug="a-flow", version="1")
    await do("catalog_install", slug="ticks")
    (shop / "ticks-1.1.0.yaml").write_text(ticks("1.1.0"), encoding="utf-8")
    packing.pack(shop)
    assert (await do("catalog_update", slug="ticks"))["changed"] is True
    await do("catalog_uninstall", slug="ticks", type="blueprint")


async def _values(do: Calls, engine: Engine) -> None:
    await do("context_set", values={"region": "eu"})
    await do("context_delete", keys=["region"])
    await do("variable_set", name="A", value="x")
    await do("variable_delete", name="A")
    await do("secret_set", name="web/a", value="hidden")
    await do("secret_rotate_key")
    await do("secret_delete", name="web/a")
    await do("kv_set", namespace="n", key="k", value=1)
    await do("kv_delete", namespace="n", key="k")
    space = Namespace(engine.kv, "tenant-a:q")
    await space.push('"a"')
    lease = await space.pop_batch(1, max_attempts=1)
    assert lease is not None
    await space.release(lease.id)
    await do("kv_dead_items", namespace="q", action="discard")


async def _administration(do: Calls, engine: Engine) -> None:
    await do("worker_group_create", name="etl")
    await do("worker_group_update", name="etl", labels=["big"])
    await do("worker_update", name="local-2", group="etl")
    await do("worker_drain", name="local-2")
    await do("worker_resume", name="local-2")
    await do("worker_update", name="local-2", group="default")
    await do("worker_group_delete", name="etl")
    await do("worker_remove", name="edge-1")
    await do("worker_group_create", name="elsewhere", tenants=["tenant-a"])
    token = await do("worker_token_create", group="elsewhere", uses=2)
    await enrol(engine, token["token"])
    await do("worker_approve", name="edge-1")
    await do("worker_revoke", name="edge-1")
    await do("worker_token_revoke", id=token["id"])
    made = await do("token_create", username="bob", tenants=["tenant-a"])
    principal = Principal("bob", Role.USER, ("tenant-a",), credential=made["id"])
    await do("token_mint", as_=Caller(principal, "tenant-a", Surface.HTTP))
    await do("token_revoke", id=made["id"])
    await do("service_account_create", name="nightly")
    binding = await do("role_binding_create", role="user", service_account="nightly")
    await do("service_account_key_create", name="nightly")
    await do("role_binding_delete", id=binding["id"])
    await do("service_account_delete", name="nightly")
    verifier = "v" * 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {"client_id": "host", "redirect_uri": "http://127.0.0.1:1/", "response_type": "code"}
    asked |= {"code_challenge": challenge, "code_challenge_method": "S256"}
    code = (await do("mcp_grant_approve", query=asked))["code"]
    form = {"grant_type": "authorization_code", "code": code, "client_id": "host", "code_verifier": verifier}
    held = await do("mcp_token_issue", form=form)
    await do("mcp_token_end", token=held["refresh_token"])
    begun = engine.devices.begin("a program")
    await do("login_device_approve", user_code=begun.user_code)
    await do("login_device_poll", device_code=begun.device_code)
    await do("console_link_create")
    browser = await do("console_session_create")
    verified = await engine.call("token_verify", {"token": browser["token"]}, SYSTEM)
    held = replace(ALICE.principal, credential=verified["credential"])
    await do("console_session_end", as_=replace(ALICE, principal=held))
    await do(
        "license_install",
        document=test_license.signed(features=["deployments", "mcp-server", "portal", "external-workers"]).decode(),
    )


async def _gitops(do: Calls) -> None:
    await do("gitops_apply", **git.sent(*git.DEV, commit=git.A))
    await do("gitops_apply", **git.sent(*git.PROD, environment="prod", commit=git.A))
    later = (("workflow", git.WORKFLOW.replace("1s", "3s")), *git.DEV[1:])
    await do("gitops_apply", **git.sent(*later, commit=git.B))
    promoted = {"from_environment": "dev", "to_environment": "prod", "commit": git.B}
    await do("gitops_promote", **git.EVIDENCE, **promoted)
    await do("gitops_rollback", **git.EVIDENCE, environment="dev", commit=git.A)


async def test_what_all_tenants_share_is_changed_by_an_admin_of_all_of_them_alone(carried: Carried) -> None:
    """A table without a tenant, and a file of the home, are everybody's: the registry says so of what changes them."""
    shares = set(carried.calls.files)
    for write in carried.writes:
        if write.operation and write.tables & carried.shared:
            shares.add(write.operation)
    assert {"license_install", "secret_rotate_key", "worker_group_update", "worker_remove"} <= shares
    assert {name for name in shares if not REGISTRY[name].platform} == set()


async def test_every_write_is_on_record_in_its_own_transaction(carried: Carried) -> None:
    do = carried.calls
    writing = {op.name for op in REGISTRY if op.effect is not Effect.READ}
    assert do.made | set(NOTED_ELSEWHERE) >= writing, writing - do.made
    unnoted = {
        (write.operation, table)
        for write in carried.writes
        for table in write.tables - BY_THE_ENGINE
        if write.operation and not write.noted
    }
    assert unnoted <= set(IN_STEPS), unnoted - set(IN_STEPS)
    noted = {operation for write in carried.writes for operation, decision in write.noted if decision == "allowed"}
    assert do.made - noted == set()
    for name in do.made - set(NOTED_ELSEWHERE):
        # Not by who asked: a run may be committed along with what somebody else writes just then.
        mine = [write for write in carried.writes if name in {operation for operation, _ in write.noted}]
        assert any(write.tables - {AUDIT} for write in mine), f"{name} is noted apart from what it changes"


async def test_an_answer_that_holds_a_credential_says_so_in_the_registry(carried: Carried) -> None:
    """So that it is never kept for a repeat, and that no JWT makes one (core/replays.py, core/engine.py)."""
    told = {op.name: set(op.told_once) for op in REGISTRY if op.told_once}
    assert carried.credentials == {name: keys for name, keys in told.items() if name in carried.calls.made}


NOT_LOST = {
    # What is deleted and is no loss.
    ("context_set", "context_changes"): "what was changed longest ago makes room for what was changed now",
    **dict.fromkeys(
        (("mcp_token_end", "mcp_grants"), ("mcp_token_end", "mcp_access")), "by the host, which gives back what it has"
    ),
    ("deployment_reset", "plans"): "as of deployment_plan",
    ("deployment_plan", "plans"): "those that were over a week ago make room for the new one",
}


async def test_what_deletes_is_destructive(carried: Carried) -> None:
    deleting = {
        (write.operation, table)
        for write in carried.writes
        for table in write.deletes - BY_THE_ENGINE
        if write.operation and REGISTRY[write.operation].effect is not Effect.DESTRUCTIVE
    }
    assert deleting == set(NOT_LOST)


async def test_whatever_is_destructive_tells_before_what_goes(carried: Carried) -> None:
    """Asked of the engine before each of these calls: what goes is named, in which tenant, and nothing is written."""
    assert set(carried.calls.questions) == {op.name for op in REGISTRY if op.effect is Effect.DESTRUCTIVE}
    assert not [write for write in carried.writes if write.operation == "call_preview"]
    for name, asked in carried.calls.questions.items():
        for arguments, said in asked:
            assert said["effect"] == "destructive" and said["refused"] is None, (name, said)
            loss = said["loss"]
            told = loss["question"] + loss["text"]
            assert "tenant-a" in told.lower(), (name, told)
            assert len(loss["text"]) > 10 and loss["yes"] and len(loss["mark"]) == 32
            named = [value for value in arguments.values() if isinstance(value, str) and value in told]
            assert named or name in BY_CONTENT, (name, told)


BY_CONTENT = {
    *("deployment_apply", "gitops_apply", "gitops_promote", "gitops_rollback", "context_delete", "secret_rotate_key"),
}
"""They name what changes, and not what their arguments name."""


def test_what_destroys_is_for_admins_and_behind_the_write_gate() -> None:
    """One table, the registry: HTTP's DELETE and the verbs of destruction are destructive, and no user may do it."""
    verbs = re.compile(r"_(delete|remove|revoke|discard|uninstall|retire|undeploy|purge|prune|drop|clear|forget)(_|$)")
    for op in REGISTRY:
        deletes = any(path.startswith("DELETE ") for path in (op.http, *op.http_also))
        assert not (deletes or verbs.search(op.name)) or op.effect is Effect.DESTRUCTIVE, op.name
        if op.effect is Effect.DESTRUCTIVE:
            assert op.role is Role.ADMIN and op.gated and op.destroys is not None, op.name
