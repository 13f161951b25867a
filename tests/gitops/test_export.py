"""What is there, written as files: their diff is empty, whatever is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import errors
from core.documents import dump, load
from core.engine import Engine
from core.gitops import export
from core.gitops.desired import context_name
from core.model.gitops import Kind
from tests.engines import ADMIN, engine_on

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)
KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True).filter(
    lambda key: key not in ("wizard", "secrets")
)
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,12}", fullmatch=True)
PLACES = st.sampled_from([{}, {"environment": "dev"}, {"environment": "prod"}, {"group": "g"}, {"job": "a.b:c"}])
DEPLOYED = [
    {"name": "plain", "source": "blueprint:heart"},
    {"name": "full-dev", "environment": "dev", "source": "workflow:beat", "replicas": {"print": 2}, "values": {"n": 1}},
]
DOCUMENTS = (
    "kind: blueprint\nslug: heart\nversion: 1.2.0\njobs:\n"
    "  - {name: j, input: {echo: {event: x, trigger: {interval: {duration: 1h}}}}, output: {print: STDOUT}}\n",
    "# with a remark\nkind: workflow\nslug: beat\nwizard: [{field: n, type: integer}]\nsteps:\n"
    "  # the source\n"
    "  - {id: beat, use: 'blueprint:echo-source@1.0.0', with: {event: '{\"a\": {{wizard.n}} }'}, out: channel:c}\n"
    "  - {id: print, use: 'blueprint:file-printer@1.0.0', in: channel:c}\n",
)


@pytest.mark.anyio
async def test_files_written_of_what_is_there_have_an_empty_diff(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home") as engine:
        with anyio.fail_after(60):
            for text in DOCUMENTS:
                saved = await engine.call("workflow_save_draft", {"document": text}, ADMIN)
                await engine.call("workflow_publish", {"slug": saved["slug"], "type": saved["type"]}, ADMIN)
            for wish in DEPLOYED:
                plan = await engine.call("deployment_plan", wish, ADMIN)
                await engine.call("deployment_apply", {"plan_id": plan["plan_id"]}, ADMIN)
        # Hypothesis calls plain functions: the examples run in a thread, the engine on its loop.
        await anyio.to_thread.run_sync(_examples, engine)


def _examples(engine: Engine) -> None:
    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(st.tuples(PLACES, st.dictionaries(KEYS, VALUES, min_size=1, max_size=3)), max_size=3),
        st.lists(st.tuples(NAMES, VALUES), max_size=3),
        st.lists(st.tuples(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True), TEXTS, VALUES), max_size=3),
    )
    def check(contexts: list[Any], jobs: list[Any], triggers: list[Any]) -> None:
        anyio.from_thread.run(_check, engine, contexts, jobs, triggers)

    check()


async def _check(engine: Engine, contexts: list[Any], jobs: list[Any], triggers: list[Any]) -> None:
    for place, values in contexts:
        await engine.call("context_set", {"values": values, **place}, ADMIN)
    for name, value in jobs:
        document = {
            "name": name,
            "input": {"echo": {"event": dump.to_yaml({"value": value})}},
            "output": {"print": "STDOUT"},
        }
        await engine.call("job_put", {"document": dump.to_yaml(document)}, ADMIN)
    there = {trigger.slug for trigger in engine.triggers.visible({"tenant-a"})}
    for slug, text, value in triggers:
        definition = {
            "slug": slug,
            "description": text,
            "target_job_name": "j",
            "parameter_schema": {"type": "object", "properties": {"x": {"description": text}}},
            "default_params": {"x": value},
        }
        await engine.call("trigger_revise" if slug in there else "trigger_publish", definition, ADMIN)
        there.add(slug)
    for environment in ("", "dev"):
        pages = [await engine.call("gitops_export", {"environment": environment}, ADMIN)]
        while pages[-1]["next_cursor"]:
            more = {"environment": environment, "cursor": pages[-1]["next_cursor"]}
            pages.append(await engine.call("gitops_export", more, ADMIN))
        files = [file for page in pages for file in page["files"]]
        assert len({file["path"].lower() for file in files}) == len(files)
        manifest = load(pages[0]["manifest"])[0].data
        found = await engine.call("gitops_diff", {"manifest": manifest, "files": files}, ADMIN)
        assert found["changes"] == [], found["text"]
        assert found["summary"]["unchanged"] >= 3


@pytest.mark.anyio
async def test_a_cursor_of_nobody_is_refused(tmp_path: Path) -> None:
    async with engine_on(tmp_path) as engine:
        with pytest.raises(errors.InvalidParams, match="cursor"):
            await engine.call("gitops_export", {"cursor": "next"}, ADMIN)


def test_names_that_no_file_system_likes_become_files_that_all_take() -> None:
    things = {(Kind.JOB, name): {"name": name} for name in ("a:b", "a_b", "A_B", "..", "x/../../y")}
    paths = [file.path for file in export.files(things, "")]
    assert len({path.lower() for path in paths}) == 5
    assert all(re.fullmatch(r"jobs/[A-Za-z0-9_][A-Za-z0-9_.-]*\.yaml", path) for path in paths), paths


def test_values_of_other_environments_are_not_written() -> None:
    things = {
        (Kind.CONTEXT, context_name(level, target, "k")): {"value": 1}
        for level, target in (("global", ""), ("environment", "dev"), ("environment", "prod"), ("group", "g"))
    }
    paths = [file.path for file in export.files(things, "dev")]
    assert paths == ["contexts/environment-dev.yaml", "contexts/global.yaml", "contexts/group-g.yaml"]
