"""GitOps on a real engine: what an apply brings about, what it leaves alone, and what it refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from core import errors, license
from core.engine import Engine
from core.gitops import steps
from core.model.principal import Caller, Principal, Role, Surface
from core.operations import gitops
from core.workflows import packing
from tests.engines import ADMIN, engine_on

pytestmark = pytest.mark.anyio
A, B = "a" * 40, "b" * 40
EVIDENCE = {"approved_by": "Ada", "change": "CHG-1"}
WORKFLOW = """\
kind: workflow
slug: beat
steps:
  - {id: beat, use: "blueprint:echo-source@1.0.0", with: {event: '{"n": "{{region}}"}', interval: 1s}, out: channel:c}
  - {id: print, use: "blueprint:file-printer@1.0.0", in: channel:c}
"""
BLUEPRINT = """\
kind: blueprint
slug: source
version: 1.0.0
ports: {in: [], out: [out]}
jobs:
  - {name: emit, input: {echo: {event: x, trigger: {interval: {duration: 1h}}}}, output: {port: out}}
"""
JOB = "name: lonely\ninput: {echo: {event: x, trigger: {interval: {duration: 1h}}}}\noutput: {print: STDOUT}\n"
TRIGGER = "slug: go\ntarget_job_name: lonely\ntarget_message_tag: go\n"


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home") as opened:
        yield opened


def deployment(name: str = "beat-dev", source: str = "workflow:beat", **more: Any) -> str:
    return orjson.dumps({"kind": "deployment", "name": name, "source": source, **more}).decode()


def context(environment: str = "dev", **values: Any) -> str:
    return orjson.dumps({"kind": "context", "environment": environment, "values": values}).decode()


def sent(
    *files: tuple[str, str], environment: str = "dev", commit: str = "", name: str = "default", tenant: str = "tenant-a"
) -> dict[str, Any]:
    manifest = {
        "schema_version": "v1",
        "name": name,
        "source": {"commit_sha": commit},
        "scope": {"tenant_id": tenant, "environment": environment},
    }
    return {
        "manifest": manifest,
        "files": [{"kind": kind, "path": f"{n}.yaml", "text": text} for n, (kind, text) in enumerate(files)],
    }


DEV = (("workflow", WORKFLOW), ("context", context(region="eu")), ("deployment", deployment()))
PROD = (("workflow", WORKFLOW), ("context", context("prod", region="us")), ("deployment", deployment("beat-prod")))


async def apply(engine: Engine, *files: tuple[str, str], caller: Caller = ADMIN, **options: Any) -> dict[str, Any]:
    flags = {key: options.pop(key) for key in ("prune", "health_seconds", "expect") if key in options}
    return await engine.call("gitops_apply", {**sent(*files, **options), **flags}, caller)


async def diff(engine: Engine, *files: tuple[str, str], **options: Any) -> list[tuple[str, str, str]]:
    found = await engine.call("gitops_diff", sent(*files, **options), ADMIN)
    return [(change["action"], change["kind"], change["id"]) for change in found["changes"]]


def done(run: dict[str, Any]) -> list[tuple[str, str]]:
    assert run["state"] == "succeeded", run
    return [(event["action"], event["id"]) for event in run["events"]]


async def test_an_apply_brings_everything_about_once_and_the_second_one_changes_nothing(engine: Engine) -> None:
    blueprint = ("blueprint", BLUEPRINT)
    files = (*DEV, blueprint, ("job", JOB), ("trigger", TRIGGER))
    with anyio.fail_after(60):
        first = await apply(engine, *files, commit=A)
        assert done(first) == [
            ("create", "source"),
            ("create", "beat"),
            ("create", "environment:dev/region"),
            ("create", "lonely"),
            ("create", "go"),
            ("create", "beat-dev"),
        ]
        assert (first["commit_sha"], first["by"], first["summary"]["create"]) == (A, "alice", 6)
        row = await engine.call("deployment_get", {"name": "beat-dev"}, ADMIN)
        assert (row["state"], row["source"]) == ("running", "workflow:beat@1")
        history = await engine.call("deployment_history", {"name": "beat-dev"}, ADMIN)
        assert history["items"][0]["reason"].startswith("GitOps apply run_")
        before = history["total"]
        second = await apply(engine, *files, commit=A)
    assert done(second) == []
    assert second["summary"] == {"create": 0, "update": 0, "unchanged": 6, "prune": 0}
    assert (await engine.call("deployment_history", {"name": "beat-dev"}, ADMIN))["total"] == before
    (dev,) = (await engine.call("gitops_status", {}, ADMIN))["environments"]
    assert [(one["name"], one["created_by"]) for one in dev["deployments"]] == [("beat-dev", "dev/default")]
    assert (dev["commit_sha"], dev["applied_by_run"]) == (A, second["run_id"])
    assert await diff(engine, *files) == []


async def test_only_what_the_manifest_created_is_pruned(engine: Engine) -> None:
    await engine.call("context_set", {"values": {"mine": 1}, "environment": "dev"}, ADMIN)
    await engine.call("job_put", {"document": JOB}, ADMIN)
    await engine.call("secret_set", {"name": "web/token", "value": "s3cret-value"}, ADMIN)
    other = JOB.replace("lonely", "second")
    files = (("context", context(mine=1, yours=2)), ("job", JOB), ("job", other), ("trigger", TRIGGER))
    assert len(done(await apply(engine, *files))) == 3
    assert await diff(engine) == [
        ("prune", "trigger", "go"),
        ("prune", "job", "second"),
        ("prune", "context", "environment:dev/yours"),
    ]
    assert done(await apply(engine, prune=False)) == []
    assert len(done(await apply(engine))) == 3
    assert await diff(engine) == []
    left = await engine.call("context_list", {"environment": "dev"}, ADMIN)
    assert [row["key"] for row in left["items"]] == ["mine"]
    assert [row["name"] for row in (await engine.call("job_list", {}, ADMIN))["items"]] == ["lonely"]
    assert (await engine.call("secret_list", {}, ADMIN))["total"] == 1


async def test_what_two_manifests_name_passes_to_the_one_that_is_left(engine: Engine) -> None:
    await apply(engine, ("job", JOB), ("blueprint", BLUEPRINT))
    await apply(engine, ("job", JOB), ("blueprint", BLUEPRINT), environment="prod")
    assert await diff(engine) == []
    assert done(await apply(engine)) == []
    assert await diff(engine, environment="prod") == [("prune", "job", "lonely"), ("prune", "blueprint", "source")]
    assert len(done(await apply(engine, environment="prod"))) == 2
    retired = await engine.call("workflow_get", {"slug": "source", "type": "blueprint", "version": "1.0.0"}, ADMIN)
    assert retired["state"] == "retired"


async def test_manifests_of_one_environment_do_not_prune_what_the_other_created(engine: Engine) -> None:
    await apply(engine, ("context", context(a=1)), name="one")
    await apply(engine, ("context", context(b=2)), name="two")
    assert await diff(engine, name="two") == [("prune", "context", "environment:dev/b")]
    with pytest.raises(errors.PlanBlocked, match="belongs to dev/one"):
        await apply(engine, ("context", context(a=9)), name="two")


async def test_a_deployment_is_exactly_what_its_file_says(engine: Engine) -> None:
    source = "blueprint:echo-source@1.0.0"
    workflow = WORKFLOW.replace("interval: 1s", "interval: '{{wizard.every}}'").replace(
        "steps:", "wizard:\n  - {field: every, default: 1s}\nsteps:"
    )
    assert source in workflow
    files = (("workflow", workflow), ("context", context(region="eu")))
    wish = deployment(values={"every": "7s"}, replicas={"print": 2})
    with anyio.fail_after(60):
        done(await apply(engine, *files, ("deployment", wish)))
        assert done(await apply(engine, *files, ("deployment", deployment()))) == [("update", "beat-dev")]
        shown = await engine.call("deployment_get", {"name": "beat-dev", "detail": "detailed"}, ADMIN)
    assert shown["values"] == {}
    assert len(shown["placement"]["beat-dev--print"]) == 1


async def test_a_changed_context_value_is_planned_with_what_it_changes(engine: Engine) -> None:
    with anyio.fail_after(60):
        done(await apply(engine, *DEV))
        files = (DEV[0], ("context", context(region="us")), DEV[2])
        found = await engine.call("gitops_diff", sent(*files), ADMIN)
        assert [(c["action"], c["id"], c["reason"]) for c in found["changes"]] == [
            ("update", "environment:dev/region", ""),
            ("update", "beat-dev", "its jobs change"),
        ]
        assert 'value: "eu" -> "us"' in found["text"]
        assert done(await apply(engine, *files, expect=found["digest"])) == [
            ("update", "environment:dev/region"),
            ("update", "beat-dev"),
        ]
    job = await engine.call("job_get", {"name": "beat-dev--beat"}, ADMIN)
    assert "us" in orjson.dumps(job["document"]).decode()


async def test_what_was_not_reviewed_is_not_applied(engine: Engine) -> None:
    found = await engine.call("gitops_diff", sent(("job", JOB)), ADMIN)
    await engine.call("job_put", {"document": JOB.replace("1h", "2h")}, ADMIN)
    with pytest.raises(errors.StalePlan, match="not those that were reviewed"):
        await apply(engine, ("job", JOB), expect=found["digest"])
    assert (await engine.call("gitops_runs", {}, ADMIN))["total"] == 0


async def test_faults_of_all_files_are_told_in_one_pass_and_nothing_is_changed(engine: Engine) -> None:
    files = (
        ("workflow", WORKFLOW.replace("echo-source", "echo-sorce").replace("in: channel:c", "in: channel:d")),
        ("blueprint", BLUEPRINT.replace("{event: x", "{evnt: x")),
        ("job", f"{JOB}---\n{JOB.replace('print:', 'prnt:').replace('lonely', 'second')}"),
        ("trigger", TRIGGER + "parameter_schema: {type: array}\n"),
        ("deployment", deployment(source="workflow:baet")),
        ("deployment", deployment("other", "blueprint:echo-source@9.9.9")),
        (
            "deployment",
            deployment("third", "workflow:quickstart-file-store-roundtrip", values={"pth": 1}, replicas={"x": 2}),
        ),
    )
    found = await engine.call("gitops_validate", sent(*files), ADMIN)
    assert not found["valid"]
    assert {fault["where"].partition(":")[0] for fault in found["errors"]} == {f"{n}.yaml" for n in range(7)}
    assert all(fault["where"].count(":") == 2 for fault in found["errors"]), found["errors"]
    assert found["errors"] == sorted(
        found["errors"], key=lambda f: [int(x) for x in f["where"].replace(".yaml", "").split(":")]
    )
    assert "2.yaml:7:10" in {fault["where"] for fault in found["errors"]}
    with pytest.raises(errors.InvalidDocument) as caught:
        await apply(engine, *files)
    assert len(caught.value.errors) == len(found["errors"])
    assert (await engine.call("gitops_runs", {}, ADMIN))["total"] == 0


async def test_what_names_a_document_with_faults_is_not_told_for_it(engine: Engine) -> None:
    named = WORKFLOW.replace("echo-source", "source")
    files = (("blueprint", BLUEPRINT.replace("1h", "soon")), ("workflow", named), ("deployment", deployment()))
    found = await engine.call("gitops_validate", sent(*files), ADMIN)
    assert {fault["where"].partition(":")[0] for fault in found["errors"]} == {"0.yaml"}, found["errors"]


async def test_a_version_that_is_published_never_changes(engine: Engine) -> None:
    done(await apply(engine, ("blueprint", BLUEPRINT)))
    found = await engine.call("gitops_validate", sent(("blueprint", BLUEPRINT.replace("1h", "2h"))), ADMIN)
    assert [(f["pointer"], f["where"]) for f in found["errors"]] == [("/version", "0.yaml:3:1")]
    assert "raise it" in found["errors"][0]["message"]
    raised = BLUEPRINT.replace("1h", "2h").replace("1.0.0", "1.1.0")
    assert done(await apply(engine, ("blueprint", raised))) == [("update", "source")]


async def test_what_came_with_sluice_or_from_a_portal_keeps_its_name(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "source.yaml").write_text(BLUEPRINT)
    packing.pack(shelf, title="Shelf", author="The team")
    async with engine_on(tmp_path / "home", portals=[f"shelf={shelf}"]) as engine:
        await engine.call("catalog_install", {"slug": "source"}, ADMIN)
        files = (
            ("blueprint", BLUEPRINT),
            ("workflow", WORKFLOW.replace("beat\n", "quickstart-file-store-roundtrip\n")),
        )
        found = await engine.call("gitops_validate", sent(*files), ADMIN)
    assert [(fault["where"], fault["pointer"]) for fault in found["errors"]] == [
        ("0.yaml:2:1", "/slug"),
        ("1.yaml:2:1", "/slug"),
    ]
    assert "installed from the portal shelf" in found["errors"][0]["message"]


async def test_two_environments_at_two_commits_do_not_publish_in_turns(engine: Engine) -> None:
    new = WORKFLOW.replace("1s", "3s")
    with anyio.fail_after(60):
        done(await apply(engine, *PROD, environment="prod"))
        done(await apply(engine, ("workflow", new), *DEV[1:]))
        assert done(await apply(engine, *PROD, environment="prod")) == []
        assert done(await apply(engine, ("workflow", new), *DEV[1:])) == []
    versions = (await engine.call("workflow_get", {"slug": "beat"}, ADMIN))["versions"]
    assert len(versions) == 2


async def test_a_workflow_may_name_what_comes_with_the_same_files(engine: Engine) -> None:
    inner = """\
kind: workflow
slug: inner
ports: {in: [], out: [out]}
steps:
  - {id: s, use: "blueprint:source@1.0.0", out: port:out}
"""
    outer = """\
kind: workflow
slug: another
steps:
  - {id: a, use: "workflow:inner@1", out: channel:c}
  - {id: b, use: "blueprint:file-printer@1.0.0", in: channel:c}
"""
    files = (
        ("workflow", outer),
        ("workflow", inner),
        ("blueprint", BLUEPRINT),
        ("deployment", deployment(source="workflow:another")),
    )
    with anyio.fail_after(60):
        run = await apply(engine, *files)
    assert [name for _, name in done(run)] == ["source", "inner", "another", "beat-dev"]


async def test_a_foreign_tenant_and_a_user_are_refused(engine: Engine) -> None:
    member = Caller(Principal("mallory", Role.ADMIN, ("tenant-b",)), "tenant-b", Surface.INTERNAL)
    for operation in ("gitops_validate", "gitops_diff", "gitops_apply"):
        with pytest.raises(errors.NotFound, match="There is no tenant tenant-a"):
            await engine.call(operation, sent(("job", JOB)), member)
    run = await apply(engine, ("job", JOB))
    with pytest.raises(errors.NotFound):
        await engine.call("gitops_runs", {"run_id": run["run_id"]}, member)
    assert (await engine.call("gitops_status", {}, member))["environments"] == []
    user = Caller(Principal("bob", Role.USER, ("tenant-a",)), "tenant-a", Surface.INTERNAL)
    with pytest.raises(errors.Forbidden):
        await engine.call("gitops_diff", sent(("job", JOB)), user)
    with pytest.raises(errors.WriteDisabled):
        await engine.call("gitops_apply", sent(("job", JOB)), dataclasses.replace(ADMIN, allow_write=False))


async def test_without_its_license_nothing_of_it_is_at_hand(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.licensing, "_reread", lambda: None)  # as a loop of the engine does now and then
    engine.licensing.current = license.community()
    with pytest.raises(errors.NotLicensed, match="deployments"):
        await engine.call("gitops_status", {}, ADMIN)


async def test_what_a_blueprint_needs_and_is_not_licensed_blocks(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.licensing, "_reread", lambda: None)  # as a loop of the engine does now and then
    needy = (
        BLUEPRINT.replace("ports:", "requires: {features: [portal]}\nports:")
        .replace("ports: {in: [], out: [out]}", "ports: {}")
        .replace("output: {port: out}", "output: {print: STDOUT}")
    )
    files = (("blueprint", needy), ("deployment", deployment(source="blueprint:source")))
    assert (await engine.call("gitops_diff", sent(*files), ADMIN))["blockers"] == []
    current = engine.licensing.current
    engine.licensing.current = dataclasses.replace(current, features=current.features - {license.Feature.PORTAL})
    found = await engine.call("gitops_diff", sent(*files), ADMIN)
    assert [one["code"] for one in found["blockers"]] == ["missing_feature"]
    with pytest.raises(errors.PlanBlocked, match="needs the feature portal"):
        await apply(engine, *files)


async def test_a_second_run_in_the_same_environment_is_refused_and_elsewhere_it_is_not(engine: Engine) -> None:
    files = tuple(("context", context(**{f"k{n}": n})) for n in range(40))
    with anyio.fail_after(60):
        first = await engine.call("gitops_apply", {**sent(*files), "wait_seconds": 0}, ADMIN)
        assert first["state"] == "running"
        with pytest.raises(errors.Busy, match="is under way in environment dev"):
            await engine.call("gitops_apply", {**sent(*files), "wait_seconds": 0}, ADMIN)
        elsewhere = await apply(engine, ("context", context("prod", a=1)), environment="prod")
        assert elsewhere["state"] == "succeeded"
        await engine.gitops_runs.wait(first["run_id"], 30)
        assert len(done(await engine.call("gitops_apply", sent(*files), ADMIN))) == 0
    ended = (await engine.call("gitops_runs", {"run_id": first["run_id"]}, ADMIN))["items"][0]
    assert (ended["state"], len(ended["events"])) == ("succeeded", 40)


async def test_a_deployment_that_does_not_come_up_fails_the_run_after_the_others(
    engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    bad = BLUEPRINT.replace("ports: {in: [], out: [out]}", "ports: {}")
    bad = bad.replace("output: {port: out}", f"output: {{file: {{path: {tmp_path / 'file' / 'x'}}}}}")
    files = (("blueprint", bad), ("deployment", deployment("a-dev", "blueprint:source")), *DEV)
    with anyio.fail_after(90):
        run = await apply(engine, *files, health_seconds=10)
    assert run["state"] == "failed", run
    assert "deployment a-dev" in run["reason"]
    assert {event["id"]: event["state"] for event in run["events"]}["beat-dev"] == "done"


async def test_a_step_that_is_refused_stops_the_run_and_says_which_one(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any) -> str:
        raise errors.StorageUnavailable("the disk is full")

    monkeypatch.setattr(steps.Steps, "_trigger", refuse)
    run = await apply(engine, ("job", JOB), ("trigger", TRIGGER))
    assert (run["state"], run["reason"]) == ("failed", "storage_unavailable: the disk is full")
    assert [(event["id"], event["state"]) for event in run["events"]] == [("lonely", "done"), ("go", "failed")]
    monkeypatch.undo()
    assert done(await apply(engine, ("job", JOB), ("trigger", TRIGGER))) == [("create", "go")]


async def test_promotion_needs_evidence_the_reviewed_commit_and_that_it_runs_well(engine: Engine) -> None:
    def promote(**more: Any) -> Any:
        return engine.call("gitops_promote", {"from_environment": "dev", "to_environment": "prod", **more}, ADMIN)

    with anyio.fail_after(120):
        with pytest.raises(errors.InvalidParams) as caught:
            await promote(change="CHG-1", commit=A)
        assert [problem.pointer for problem in caught.value.errors] == ["/approved_by"]
        for bad in ({"approved_by": "  ", "change": "x", "commit": A}, {**EVIDENCE, "commit": "abc"}):
            with pytest.raises(errors.InvalidParams):
                await promote(**bad)
        with pytest.raises(errors.NotFound, match="has no run"):
            await promote(**EVIDENCE, commit=A)
        done(await apply(engine, *DEV, commit=A))
        with pytest.raises(errors.NotFound, match="has a counterpart"):
            await promote(**EVIDENCE, commit=A)
        done(await apply(engine, *PROD, environment="prod", commit=A))
        done(await apply(engine, ("workflow", WORKFLOW.replace("1s", "3s")), *DEV[1:], commit=B))
        with pytest.raises(errors.PlanBlocked, match="What was reviewed is commit a"):
            await promote(**EVIDENCE, commit=A)
        seen = await promote(dry_run=True)
        assert [(c["action"], c["id"]) for c in seen["changes"]] == [("update", "beat-prod")]
        with pytest.raises(errors.StalePlan):
            await promote(**EVIDENCE, commit=B, expect="0" * 16)
        run = await promote(**EVIDENCE, commit=B, expect=seen["digest"])
        assert done(run) == [("update", "beat-prod")]
        assert (run["approval"], run["commit_sha"]) == ({**EVIDENCE, "commit": B}, B)
        assert run["source"]["from_environment"] == "dev"
        made = await engine.call("deployment_plan", {"name": "beat-dev", "source": "workflow:beat@1"}, ADMIN)
        await engine.call("deployment_apply", {"plan_id": made["plan_id"]}, ADMIN)
        with pytest.raises(errors.PlanBlocked, match="was workflow:beat@2 when it was reviewed"):
            await promote(**EVIDENCE, commit=B)
        status = await engine.call("gitops_status", {"environment": "dev"}, ADMIN)
        (dev,) = status["environments"]
        assert (dev["in_sync"], [(d["id"], d["what"]) for d in dev["drift"]]) == (False, [("beat-dev", "was changed")])
        assert 'source: "workflow:beat@2" -> "workflow:beat@1"' in dev["drift"][0]["diff"]


async def test_a_rollback_brings_back_what_a_run_left(engine: Engine) -> None:
    def rollback(**more: Any) -> Any:
        return engine.call("gitops_rollback", {"environment": "dev", **more}, ADMIN)

    with anyio.fail_after(120):
        first = await apply(engine, *DEV, ("job", JOB), commit=A)
        done(first)
        later = (
            ("workflow", WORKFLOW.replace("1s", "3s")),
            ("context", context(region="us", extra=1)),
            ("deployment", deployment(replicas={"print": 2})),
            ("trigger", TRIGGER),
        )
        done(await apply(engine, *later, commit=B))
        with pytest.raises(errors.InvalidParams):
            await rollback(commit=A)
        with pytest.raises(errors.NotFound, match="no successful run of commit c"):
            await rollback(**EVIDENCE, commit="c" * 40)
        with pytest.raises(errors.InvalidParams, match="not of the commit that was approved"):
            await rollback(**EVIDENCE, commit=B, to_run=first["run_id"])
        run = await rollback(**EVIDENCE, commit=A)
        assert done(run) == [
            ("update", "environment:dev/region"),
            ("create", "lonely"),
            ("update", "beat-dev"),
            ("prune", "go"),
            ("prune", "environment:dev/extra"),
        ]
        assert await diff(engine, *DEV, ("job", JOB)) == []
        assert (await engine.call("deployment_get", {"name": "beat-dev"}, ADMIN))["source"] == "workflow:beat@1"
        assert done(
            await rollback(**EVIDENCE, commit=B, to_run=None) if False else await apply(engine, *later, commit=B)
        )
        again = await rollback(**EVIDENCE, commit=A, to_run=first["run_id"])
        assert ("update", "beat-dev") in done(again)
    runs = (await engine.call("gitops_runs", {"environment": "dev"}, ADMIN))["items"]
    assert [run["action"] for run in runs] == ["rollback", "apply", "rollback", "apply", "apply"]


async def test_more_than_a_megabyte_of_files_is_taken_and_there_is_an_end(engine: Engine) -> None:
    large = "kind: context\nenvironment: dev\nvalues:\n" + "".join(f"  k{n}: '{'x' * 60_000}'\n" for n in range(15))
    files = tuple(("context", large.replace("  k", f"  k{n}_")) for n in range(2))
    assert (await engine.call("gitops_diff", sent(*files), ADMIN))["summary"]["create"] == 30
    huge = {"kind": "job", "path": "x.yaml", "text": "x" * 1_000_000}
    with pytest.raises(errors.InvalidParams, match=f"at most {gitops.MAX_BYTES}"):
        await engine.call("gitops_diff", {**sent(), "files": [huge] * 9}, ADMIN)


THIEF = """\
kind: workflow
slug: thief
steps:
  - {id: beat, use: "blueprint:echo-source@1.0.0", with: {event: '{"n": 1}', interval: 1s}, out: channel:c}
  - {id: keep, use: "blueprint:file-sink@1.0.0", with: {path: PATH}, in: channel:c}
"""


async def test_files_cannot_lead_a_job_into_the_home_of_the_engine(engine: Engine) -> None:
    """Neither one that is written as such, nor one that a workflow makes, nor by way of a context."""
    inside = str(engine.settings.home / "engine.db")
    job = f"name: thief\ninput: {{files: {{path: {inside}}}}}\noutput: {{print: STDOUT}}\n"
    by_context = "name: thief\ninput: {files: {path: '{{where}}'}}\noutput: {print: STDOUT}\n"
    workflow = ("workflow", THIEF.replace("PATH", inside))
    for files in (
        (("job", job),),
        (("context", context(where=inside)), ("job", by_context)),
        (workflow, ("deployment", deployment("thief", "workflow:thief"))),
    ):
        found = await engine.call("gitops_validate", sent(*files), ADMIN)
        assert not found["valid"], found
        assert any("no job may enter" in problem["message"] for problem in found["errors"]), found
        with pytest.raises(errors.SluiceError, match=r"no job may enter|fault"):
            await apply(engine, *files)
    assert (await engine.call("job_list", {}, ADMIN))["items"] == []
