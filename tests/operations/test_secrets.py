"""Secrets, variables and contexts as users meet them: write-only, by tenant, by need, and gone when they say so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlite_utils

from core import errors, ownership
from core.contexts import keys
from core.engine import Engine
from core.model.principal import Caller, Principal, Role, Surface
from core.store import audit, migrations
from tests import waiting
from tests.dsl import web
from tests.engines import ADMIN, USER, deploy, engine_on

pytestmark = pytest.mark.anyio
OTHER = replace(ADMIN, tenant="tenant-b")
TENANT_ADMIN = Caller(Principal("carol", Role.ADMIN, ("tenant-a",)), "tenant-a", Surface.INTERNAL)
POST = """
name: post
input: {{echo: {{event: '{{"x": 1}}', json: true, trigger: {{interval: 50ms}}}}}}
output: {{http-post: {{url: "{url}", headers: {{authorization: "Bearer ${{secret|web/token}}"}}}}}}
"""
READS = """
name: reads
input: {echo: {event: '{"x": 1}', json: true, trigger: {interval: 50ms}}}
actions: [{add: {output-fields: {v: "${dyn|V||none}"}}}]
output: {print: STDOUT}
"""
SETS = """
name: sets
input: {echo: {event: '{"v": "from a job"}', json: true}}
output: {message: {set-variable-name: V, input-field: v}}
"""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", egress_allow=("127.0.0.1/32",)) as running:
        yield running


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Engine]:
    """An engine without workers."""
    async with engine_on(tmp_path / "home", workers=0) as running:
        yield running


async def _set(engine: Engine, value: str, name: str = "web/token", caller: Caller = ADMIN) -> dict[str, Any]:
    return await engine.call("secret_set", {"name": name, "value": value}, caller)


async def _printed(engine: Engine, job: str, text: str) -> None:
    """Wait until a job has printed a text."""

    async def log() -> list[str]:
        return [line["text"] for line in (await engine.call("job_get", {"name": job, "log_lines": 50}, ADMIN))["log"]]

    await waiting.until(log, lambda lines: any(text in line for line in lines))


async def test_a_new_value_reaches_the_jobs_that_use_it_without_a_deployment(engine: Engine) -> None:
    async with web.serve(web.answer(200)) as site:
        with anyio.fail_after(30):
            await _set(engine, "first-value")
            await deploy(engine, POST.format(url=site.url("/in")))
            assert (await _set(engine, "second-value"))["used_by"] == ["post"]
            await waiting.until(lambda: any(r.headers["authorization"] == "Bearer second-value" for r in site.requests))
            assert site.requests[0].headers["authorization"] == "Bearer first-value"
            (worker,) = engine.fleet.worker_rows()
            assert worker["restarts"] == 0


async def test_a_worker_that_comes_back_is_given_the_secrets_again(engine: Engine) -> None:
    async with web.serve(web.answer(200)) as site:
        with anyio.fail_after(30):
            await _set(engine, "the-value")
            await deploy(engine, POST.format(url=site.url("/in")))
            engine.fleet.processes.children["local-1"].kill()
            assert await engine.fleet.wait(lambda: engine.fleet.workers["local-1"].restarts == 1, 10)
            site.requests.clear()
            await waiting.until(lambda: site.requests)
            assert site.requests[0].headers["authorization"] == "Bearer the-value"


async def test_a_secret_in_use_is_deleted_only_by_force_and_the_job_then_says_why_it_fails(engine: Engine) -> None:
    async with web.serve(web.answer(200)) as site:
        with anyio.fail_after(30):
            await _set(engine, "the-value")
            await deploy(engine, POST.format(url=site.url("/in")))
            with pytest.raises(errors.AlreadyExists, match="used by post"):
                await engine.call("secret_delete", {"name": "web/token"}, ADMIN)
            await engine.call("secret_delete", {"name": "web/token", "force": True}, ADMIN)
            await _printed(engine, "post", "the secret web/token is not set")
            (row,) = (await engine.call("secret_list", {}, ADMIN))["items"]
            assert (row["name"], row["version"], row["used_by"]) == ("web/token", 0, ["post"])
            await _set(engine, "back-again")
            await waiting.until(lambda: any(r.headers["authorization"] == "Bearer back-again" for r in site.requests))


async def test_a_job_whose_secrets_are_missing_is_not_deployed(engine: Engine) -> None:
    with anyio.fail_after(15):
        await engine.call("job_put", {"document": POST.format(url="http://127.0.0.1:9/")}, ADMIN)
        with pytest.raises(errors.InvalidDocument, match="web/token") as caught:
            await engine.call("job_deploy", {"name": "post"}, ADMIN)
        assert [(p.pointer, p.message) for p in caught.value.errors] == [
            ("/output/http-post/headers/authorization", "missing secret web/token")
        ]
        assert engine.fleet.workload_views(tenant="tenant-a") == []


async def test_a_plan_names_missing_secrets_and_an_apply_refuses_one_that_has_gone(
    engine: Engine, tmp_path: Path
) -> None:
    values = {"path": str(tmp_path / "files"), "guid_prefix": "${secret|web/token}"}
    wish = {"name": "d", "source": "workflow:quickstart-file-store-roundtrip", "values": values}
    with anyio.fail_after(30):
        blocked = await engine.call("deployment_plan", wish, ADMIN)
        assert "missing secret web/token" in [b["message"].partition(":")[0] for b in blocked["blockers"]]
        typed = "sluice secret set web/token --tenant tenant-a"
        assert any(typed in b["hint"] for b in blocked["blockers"])
        told = await engine.call("explain", {"kind": "plan", "id": blocked["plan_id"]}, ADMIN)
        assert (told["next"][0]["call"], told["next"][0]["command"]) == ("secret_set", typed)
        await _set(engine, "the-value")
        planned = await engine.call("deployment_plan", wish, ADMIN)
        assert planned["secrets"] == ["web/token"]
        assert not [b for b in planned["blockers"] if b["code"] == "missing_secret"]
        await engine.call("secret_delete", {"name": "web/token"}, ADMIN)
        with pytest.raises(errors.PlanBlocked, match="web/token"):
            await engine.call("deployment_apply", {"plan_id": planned["plan_id"]}, ADMIN)


async def test_tenants_do_not_see_each_others_secrets_variables_and_contexts(store: Engine) -> None:
    with anyio.fail_after(10):
        await _set(store, "value-of-a")
        await store.call("variable_set", {"name": "V", "value": "a"}, ADMIN)
        await store.call("context_set", {"values": {"k": "a"}}, ADMIN)
        for name in ("secret_list", "variable_list", "context_list"):
            assert (await store.call(name, {}, OTHER))["items"] == []
        assert (await store.call("context_get", {}, OTHER))["values"] == {}
        for name, arguments in (
            ("secret_delete", {"name": "web/token", "force": True}),
            ("variable_delete", {"name": "V"}),
            ("context_delete", {"keys": ["k"]}),
        ):
            with pytest.raises(errors.NotFound):
                await store.call(name, arguments, OTHER)
        assert (await _set(store, "value-of-b", caller=OTHER))["version"] == 1
        assert len((await store.call("secret_list", {}, ADMIN))["items"]) == 1


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("secret_set", {"name": "a", "value": "abcd"}),
        ("secret_list", {}),
        ("secret_delete", {"name": "a"}),
        ("secret_rotate_key", {}),
        ("variable_set", {"name": "V", "value": ""}),
        ("variable_list", {}),
        ("variable_delete", {"name": "V"}),
        ("context_set", {"values": {"k": 1}}),
        ("context_delete", {}),
    ],
)
async def test_who_is_no_admin_may_not(store: Engine, name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(errors.Forbidden):
        await store.call(name, arguments, USER)


async def test_only_who_owns_every_tenant_changes_the_key_of_all(store: Engine) -> None:
    with anyio.fail_after(10):
        await _set(store, "the-value", caller=TENANT_ADMIN)
        with pytest.raises(errors.Forbidden, match="what all tenants share"):
            await store.call("secret_rotate_key", {}, TENANT_ADMIN)
        before = keys.read(store.settings.home, {}).keys
        assert (await store.call("secret_rotate_key", {}, ADMIN))["rotated"] == 1
        assert keys.read(store.settings.home, {}).keys != before


async def test_the_audit_tells_who_set_which_name_and_never_a_value(store: Engine) -> None:
    with anyio.fail_after(10):
        await _set(store, "the-canary-value")
        await store.call("variable_set", {"name": "V", "value": "the-canary-value"}, ADMIN)
        await store.call("context_set", {"worker": "w1", "values": {"k": "the-canary-value", "a": 1}}, ADMIN)
        await store.call("secret_delete", {"name": "web/token"}, ADMIN)
        rows = await store.database.read(audit.recent, "tenant-a")
    told = {(row.operation, row.target, row.username) for row in rows}
    assert told >= {
        ("secret_set", "tenant-a/web/token", "alice"),
        ("variable_set", "tenant-a/V", "alice"),
        ("context_set", "tenant-a/worker w1: a, k", "alice"),
        ("secret_delete", "tenant-a/web/token", "alice"),
    }
    assert "canary" not in str(rows)


async def test_a_fault_of_ours_is_logged_without_what_was_sent(
    store: Engine, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: Any) -> None:
        raise RuntimeError("broken for the test")

    monkeypatch.setattr(store.vault, "set", broken)
    with pytest.raises(errors.Internal):
        await _set(store, "the-canary-value")
    told = capfd.readouterr()
    assert "broken for the test" in told.out + told.err
    assert "the-canary-value" not in told.out + told.err


async def test_a_variable_that_a_job_sets_is_read_by_others_and_survives_the_owner(tmp_path: Path) -> None:
    with anyio.fail_after(40):
        async with engine_on(tmp_path / "home") as engine:
            await deploy(engine, READS)
            await _printed(engine, "reads", '"v":"none"')
            await deploy(engine, SETS)
            await _printed(engine, "reads", '"v":"from a job"')
            page = await engine.call("message_search", {"type": "variable-set"}, ADMIN)
            assert [item["message_data"] for item in page["items"]] == [{"name": "V"}]
            assert (await engine.call("message_search", {"type": "user-generated"}, ADMIN))["items"] == []
        async with engine_on(tmp_path / "home") as engine:
            (row,) = (await engine.call("variable_list", {}, ADMIN))["items"]
            assert (row["name"], row["value"], row["updated_by"]) == ("V", "from a job", "job sets")
            await _printed(engine, "reads", '"v":"from a job"')
            await engine.call("variable_set", {"name": "V", "value": "from a person"}, ADMIN)
            await _printed(engine, "reads", '"v":"from a person"')
            await engine.call("variable_delete", {"name": "V"}, ADMIN)
            await _printed(engine, "reads", '"v":"none"')


async def test_a_worker_sees_its_own_context_and_a_job_its_own_above_it(engine: Engine) -> None:
    document = 'name: where\ninput: {echo: {event: \'{"r": "{{region}}"}\', json: true}}\noutput: {print: STDOUT}\n'
    with anyio.fail_after(30):
        with pytest.raises(errors.InvalidDocument, match="no context gives") as caught:
            await engine.call("job_put", {"document": document}, ADMIN)
        assert caught.value.errors[0].where == "<document>:2:16"
        assert "region" in caught.value.errors[0].message
        assert "context set" in caught.value.hint
        for place, value in (
            ({}, "g"),
            ({"environment": "prod"}, "e"),
            ({"worker": "local-1"}, "w"),
            ({"job": "where"}, "j"),
        ):
            await engine.call("context_set", {"values": {"region": value}, **place}, ADMIN)
            await deploy(engine, document, environment="prod")
            await _printed(engine, "where", f'{{"r":"{value}"}}')
        seen = await engine.call("context_get", {"worker": "local-1", "job": "where"}, ADMIN)
        assert (seen["values"], seen["from"]) == ({"region": "j"}, {"region": "job where"})


async def test_a_key_that_only_another_worker_gives_fails_the_deployment(engine: Engine) -> None:
    document = 'name: where\ninput: {echo: {event: \'{"r": "{{region}}"}\', json: true}}\noutput: {print: STDOUT}\n'
    with anyio.fail_after(15):
        await engine.call("context_set", {"worker": "elsewhere", "values": {"region": "x"}}, ADMIN)
        await engine.call("job_put", {"document": document}, ADMIN)
        with pytest.raises(errors.InvalidDocument, match="On worker local-1"):
            await engine.call("job_deploy", {"name": "where"}, ADMIN)


@pytest.mark.parametrize(
    ("arguments", "pointer"),
    [
        ({"values": {}}, "/values"),
        ({"values": {"a b": 1}}, "/values/a b"),
        ({"values": {"k": None}}, "/values/k"),
        ({"values": {"wizard": 1}}, "/values/wizard"),
        ({"values": {"secrets": {"a": "b"}}}, "/values/secrets"),
        ({"values": {"k": "x" * 70_000}}, "/values/k"),
        ({"values": {"k": 1}, "job": "../x"}, "/job"),
        ({"values": {"k": 1}, "job": "a", "worker": "b"}, ""),
    ],
)
async def test_a_context_value_that_cannot_be_kept_is_refused(
    store: Engine, arguments: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(errors.InvalidParams) as caught:
        await store.call("context_set", arguments, ADMIN)
    assert [problem.pointer for problem in caught.value.errors] == [pointer]
    assert (await store.call("context_list", {}, ADMIN))["total"] == 0


async def test_an_older_database_is_migrated_and_its_jobs_go_on(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with anyio.fail_after(30):
        async with engine_on(tmp_path / "scratch", workers=0) as engine:
            await engine.call("job_put", {"document": SETS}, ADMIN)
            (job,) = await engine.database.read(lambda db: list(db.query("SELECT * FROM jobs")))
        _first_release(ownership.prepare(home) / "sluice.db", job)
        async with engine_on(home) as engine:
            await engine.call("job_deploy", {"name": "sets"}, ADMIN)
            await _set(engine, "the-value")
            assert engine.variables.get("tenant-a", "V") == "from a job"


def _first_release(path: Path, job: dict[str, Any]) -> None:
    """A database as the first release made it, with a job."""
    db = sqlite_utils.Database(path)
    first, second, *_ = (step.name for step in migrations.STEPS._migrations)
    migrations.STEPS.apply(db, stop_before=second)
    assert [step.name for step in migrations.STEPS.applied(db)] == [first]
    known = {column.name for column in db.table("jobs").columns}
    db.table("jobs").insert({key: value for key, value in job.items() if key in known})
    db.conn.commit()
    db.conn.close()
