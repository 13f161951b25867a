"""Portals end to end: offered, looked at, installed, updated, uninstalled; and everything that is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from core import errors, license
from core.admission import in_tenant
from core.catalog import installing, portals
from core.engine import Engine
from core.store import audit
from core.store import catalog as table
from core.store.database import open_database
from core.workflows import packing
from tests.engines import ADMIN, USER, engine_on
from tests.portals import DOCUMENTS, JOB, PRINTED, SOURCE, https, item, ticks, write_index

pytestmark = pytest.mark.anyio


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A packed portal with an item of each type."""
    root = tmp_path / "shop"
    root.mkdir()
    for kind, text in DOCUMENTS.items():
        (root / f"{kind}.yaml").write_text(text, encoding="utf-8")
    packing.pack(root, title="Shop", author="The shop")
    return root


@pytest.fixture
async def engine(shop: Path, tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", workers=0, portals=(f"shop={shop}",)) as opened:
        yield opened


async def call(engine: Engine, name: str, /, **arguments: Any) -> dict[str, Any]:
    return await engine.call(name, arguments, ADMIN)


async def installed(engine: Engine) -> set[str]:
    rows = await engine.database.read(table.installed, ADMIN.tenant)
    return {f"{row['type']}:{row['slug']}@{row['version']}" for row in rows}


def offer_update(shop: Path, version: str = "1.1.0", text: str = "") -> None:
    (shop / f"ticks-{version}.yaml").write_text(text or ticks(version), encoding="utf-8")
    packing.pack(shop)


async def test_offers_are_found_beside_what_is_here(engine: Engine) -> None:
    found = await call(engine, "catalog_search", source="portal")
    assert [(one["type"], one["slug"], one["availability"], one["portal"]) for one in found["items"]] == [
        ("blueprint", "ticks", "portal-only", "shop"),
        ("job", "hello-job", "portal-only", "shop"),
        ("perspective", "clock-and-more", "portal-only", "shop"),
        ("workflow", "printed-ticks", "portal-only", "shop"),
    ]
    assert "portals" not in found
    everywhere = await call(engine, "catalog_search", query="tick")
    assert "ticks" in [one["slug"] for one in everywhere["items"]]


async def test_an_offer_can_be_looked_at_before_it_is_installed(engine: Engine) -> None:
    shown = await call(engine, "catalog_get", slug="printed-ticks", detail="detailed")
    assert [node["id"] for node in shown["graph"]["nodes"]] == ["tick", "print"]
    assert [field["field"] for field in shown["wizard"]] == ["every"]
    assert shown["provenance"]["author"] == "The shop"
    assert (shown["versions"], shown["available_versions"]) == ([], [1])
    (following,) = shown["next"]
    assert following["operation"] == "catalog_install"
    assert (await call(engine, following["operation"], **following["arguments"]))["changed"] is True


async def test_an_install_brings_the_modules_by_exact_version_and_is_repeatable(engine: Engine) -> None:
    done = await call(engine, "catalog_install", slug="printed-ticks")
    assert [(one["type"], one["slug"], one["version"]) for one in done["installed"]] == [
        ("blueprint", "ticks", "1.0.0"),
        ("workflow", "printed-ticks", 1),
    ]
    again = await call(engine, "catalog_install", slug="printed-ticks")
    assert (again["changed"], again["installed"], again["ref"]) == (False, [], "workflow:printed-ticks@1")
    rows = await engine.database.read(audit.recent, ADMIN.tenant)
    assert [row.target for row in rows if row.operation == "catalog_install"] == [
        "tenant-a/workflow:printed-ticks@1",
        "tenant-a/blueprint:ticks@1.0.0",
    ]


async def test_what_is_installed_tells_where_it_came_from_and_can_be_planned(engine: Engine, shop: Path) -> None:
    await call(engine, "catalog_install", slug="printed-ticks")
    shown = await call(engine, "catalog_get", slug="ticks", detail="detailed")
    about = shown["provenance"]
    assert (about["source"], about["portal"], about["location"], about["author"], about["installed_by"]) == (
        "portal",
        "shop",
        str(shop),
        "Ada",
        "alice",
    )
    assert about["sha256"] == item(SOURCE, "")["sha256"]
    assert shown["used_by"] == ["workflow:printed-ticks@1"]
    planned = await call(
        engine, "deployment_plan", name="clock", source="workflow:printed-ticks", values={"every": "1s"}
    )
    assert planned["blockers"] == []


async def test_items_belong_to_the_tenant_that_installed_them(engine: Engine) -> None:
    await call(engine, "catalog_install", slug="ticks")
    other = await engine.call("catalog_get", {"slug": "ticks"}, in_tenant(ADMIN, "tenant-b"))
    assert (other["availability"], other["versions"]) == ("portal-only", [])


async def test_installed_items_survive_a_restart_without_the_portal(tmp_path: Path, shop: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0, portals=(f"shop={shop}",)) as engine:
        await call(engine, "catalog_install", slug="printed-ticks")
    async with engine_on(tmp_path / "home", workers=0) as engine:
        shown = await call(engine, "catalog_get", slug="printed-ticks")
        assert (shown["availability"], shown["source"], shown["portal"]) == ("installed", "portal", "shop")
        listed = await call(engine, "workflow_list", source="portal")
        assert {one["slug"] for one in listed["items"]} == {"printed-ticks", "ticks"}


async def test_an_update_is_shown_and_taken_only_when_asked_for(engine: Engine, shop: Path) -> None:
    await call(engine, "catalog_install", slug="printed-ticks")
    assert (await call(engine, "catalog_update", slug="ticks"))["changed"] is False
    offer_update(shop)
    (row,) = (await call(engine, "catalog_search", availability="update-available"))["items"]
    assert (row["slug"], row["version"], row["available_version"]) == ("ticks", "1.0.0", "1.1.0")
    shown = await call(engine, "catalog_get", slug="ticks")
    assert (shown["version"], shown["availability"]) == ("1.0.0", "update-available")
    assert [one["operation"] for one in shown["next"]] == ["workflow_save_draft", "catalog_update"]
    preview = await call(engine, "catalog_get", slug="ticks", version="1.1.0")
    assert (preview["version"], preview["availability"]) == ("1.1.0", "portal-only")
    done = await call(engine, "catalog_update", slug="ticks")
    assert (done["from_version"], done["version"], done["changed"]) == ("1.0.0", "1.1.0", True)
    assert await installed(engine) == {"blueprint:ticks@1.0.0", "blueprint:ticks@1.1.0", "workflow:printed-ticks@1"}
    current = await call(engine, "catalog_get", slug="ticks")
    assert (current["version"], current["availability"], current["versions"]) == (
        "1.1.0",
        "installed",
        ["1.0.0", "1.1.0"],
    )


async def test_an_older_version_can_be_installed_by_name(engine: Engine, shop: Path) -> None:
    offer_update(shop)
    done = await call(engine, "catalog_install", slug="ticks", version="1.0.0")
    assert done["ref"] == "blueprint:ticks@1.0.0"
    with pytest.raises(errors.NotFound) as caught:
        await call(engine, "catalog_install", slug="ticks", version="7.0.0")
    assert "1.0.0, 1.1.0" in caught.value.hint


async def test_uninstall_is_refused_while_something_uses_the_item(tmp_path: Path, shop: Path) -> None:
    async with engine_on(tmp_path / "home", workers=1, portals=(f"shop={shop}",)) as engine:
        await call(engine, "catalog_install", slug="printed-ticks")
        with pytest.raises(errors.AlreadyExists, match="workflow:printed-ticks@1"):
            await call(engine, "catalog_uninstall", slug="ticks")
        plan = await call(
            engine, "deployment_plan", name="clock", source="workflow:printed-ticks", values={"every": "1s"}
        )
        await call(engine, "deployment_apply", plan_id=plan["plan_id"])
        with pytest.raises(errors.AlreadyExists, match="deployment clock"):
            await call(engine, "catalog_uninstall", slug="printed-ticks")
        gone = await call(engine, "deployment_plan", name="clock", remove=True)
        await call(engine, "deployment_apply", plan_id=gone["plan_id"], wait_seconds=5)
        assert (await call(engine, "catalog_uninstall", slug="printed-ticks"))["uninstalled"] == [1]
        assert (await call(engine, "catalog_uninstall", slug="ticks", version="1.0.0"))["uninstalled"] == ["1.0.0"]
        assert await installed(engine) == set()
        with pytest.raises(errors.NotFound):
            await call(engine, "catalog_uninstall", slug="ticks")


async def test_only_an_admin_installs(engine: Engine) -> None:
    for name in ("catalog_install", "catalog_update", "catalog_uninstall"):
        with pytest.raises(errors.Forbidden):
            await engine.call(name, {"slug": "ticks"}, USER)


# -- what is refused, and leaves nothing behind ----------------------------------------------------------------


async def refused(engine: Engine, kind: type[errors.SluiceError], match: str, **arguments: Any) -> errors.SluiceError:
    before = await installed(engine)
    with pytest.raises(kind, match=match) as caught:
        await call(engine, "catalog_install", **arguments)
    assert await installed(engine) == before
    return caught.value


async def test_a_tampered_item_is_refused(engine: Engine, shop: Path) -> None:
    (shop / "blueprint.yaml").write_text(SOURCE.replace("event: tick", "event: tock"), encoding="utf-8")
    await refused(engine, errors.InvalidDocument, "SHA-256", slug="ticks")
    await refused(engine, errors.InvalidDocument, "SHA-256", slug="printed-ticks")  # by what it leads to


async def test_a_truncated_item_is_refused(engine: Engine, shop: Path) -> None:
    (shop / "blueprint.yaml").write_text(SOURCE[:-10], encoding="utf-8")
    await refused(engine, errors.InvalidDocument, "cut off", slug="printed-ticks")


async def test_an_item_that_is_gone_is_told(engine: Engine, shop: Path) -> None:
    (shop / "job.yaml").unlink()
    await refused(engine, errors.TargetUnavailable, "job.yaml", slug="hello-job")


async def test_an_item_of_another_kind_is_refused(engine: Engine, shop: Path) -> None:
    (shop / "x.yaml").write_text(JOB, encoding="utf-8")
    write_index(shop, item(JOB, "x.yaml", type="blueprint", slug="hello-job", version="1.0.0"))
    await refused(engine, errors.InvalidDocument, "is a library-job and not a blueprint", slug="hello-job")


async def test_every_missing_module_is_named(engine: Engine, shop: Path) -> None:
    text = PRINTED.replace("ticks@1.0.0", "tacks@1.0.0").replace("file-printer@1.0.0", "file-printer@9.9.9")
    (shop / "w.yaml").write_text(text, encoding="utf-8")
    write_index(shop, item(text, "w.yaml", type="workflow", slug="printed-ticks", version=1))
    error = await refused(engine, errors.NotFound, "are missing", slug="printed-ticks")
    told = " ".join(problem.message for problem in error.errors)
    assert "blueprint:tacks@1.0.0" in told
    assert "blueprint:file-printer@9.9.9" in told
    assert "did you mean blueprint:file-printer@1.0.0?" in told


async def test_modules_that_name_each_other_are_refused(engine: Engine, shop: Path) -> None:
    def nest(slug: str, inner: str) -> str:
        return f'kind: workflow\nslug: {slug}\nversion: 1\nsteps:\n  - {{id: a, use: "workflow:{inner}@1"}}\n'

    names = (("one", "two"), ("two", "one"))
    for slug, inner in names:
        (shop / f"{slug}.yaml").write_text(nest(slug, inner), encoding="utf-8")
    entries = [item(nest(s, i), f"{s}.yaml", type="workflow", slug=s, version=1) for s, i in names]
    write_index(shop, *entries)
    told = await refused(engine, errors.InvalidDocument, "uses itself through", slug="one")
    assert [problem.where for problem in told.errors] == ["shop/two.yaml:5:13"]


async def test_an_invalid_document_is_refused_with_its_places(engine: Engine, shop: Path) -> None:
    text = PRINTED.replace("interval:", "intervall:")
    (shop / "w.yaml").write_text(text, encoding="utf-8")
    write_index(
        shop,
        item(text, "w.yaml", type="workflow", slug="printed-ticks", version=1),
        item(SOURCE, "blueprint.yaml", type="blueprint", slug="ticks", version="1.0.0"),
    )
    error = await refused(engine, errors.InvalidDocument, "fault", slug="printed-ticks")
    assert error.errors[0].where == "shop/w.yaml:10:53"
    text = JOB.replace("echo", "ecko")
    (shop / "j.yaml").write_text(text, encoding="utf-8")
    write_index(shop, item(text, "j.yaml", type="job", slug="hello-job", version="1.0.0"))
    error = await refused(engine, errors.InvalidDocument, "cannot be used", slug="hello-job")
    assert error.errors[0].pointer.startswith("/job/input")


async def test_an_item_cannot_take_the_place_of_what_comes_with_sluice(engine: Engine, shop: Path) -> None:
    text = SOURCE.replace("slug: ticks", "slug: echo-source").replace("1.0.0", "9.0.0")
    (shop / "e.yaml").write_text(text, encoding="utf-8")
    write_index(shop, item(text, "e.yaml", type="blueprint", slug="echo-source", version="9.0.0"))
    await refused(engine, errors.AlreadyExists, "comes with Sluice", slug="echo-source")
    shown = await call(engine, "catalog_get", slug="echo-source")
    assert (shown["source"], shown["version"], shown["available_versions"]) == ("builtin", "1.0.0", [])


async def test_an_item_cannot_take_the_place_of_an_own_one_nor_of_its_draft(engine: Engine) -> None:
    await call(engine, "workflow_save_draft", document=SOURCE)
    await refused(engine, errors.AlreadyExists, "of your own", slug="ticks")
    await call(engine, "workflow_publish", slug="ticks", type="blueprint")
    await refused(engine, errors.AlreadyExists, "of your own", slug="ticks")
    assert (await call(engine, "catalog_install", slug="hello-job"))["changed"] is True


async def test_nothing_stays_of_an_install_that_fails_at_its_last_item(engine: Engine) -> None:
    await call(engine, "workflow_save_draft", document=PRINTED)  # the module of the portal's item comes before it
    await refused(engine, errors.AlreadyExists, "workflow printed-ticks of your own", slug="printed-ticks")
    rows = await engine.database.read(audit.recent, ADMIN.tenant)
    assert [row.decision for row in rows if row.operation == "catalog_install"] == ["already_exists"]


async def test_an_own_document_cannot_take_the_place_of_an_installed_one(engine: Engine) -> None:
    await call(engine, "catalog_install", slug="ticks")
    with pytest.raises(errors.AlreadyExists, match="installed from the portal shop"):
        await call(engine, "workflow_save_draft", document=SOURCE)
    with pytest.raises(errors.Forbidden, match="installed from a portal"):
        await call(engine, "workflow_retire", slug="ticks", type="blueprint", version="1.0.0")
    copied = await call(engine, "workflow_clone", slug="ticks", type="blueprint", new_slug="my-ticks")
    assert copied["derived_from"] == "blueprint:ticks@1.0.0"


async def test_a_version_whose_content_changed_is_refused(engine: Engine, shop: Path) -> None:
    await call(engine, "catalog_install", slug="ticks")
    (shop / "blueprint.yaml").write_text(SOURCE.replace("Ticks", "Tocks"), encoding="utf-8")
    packing.pack(shop)
    await refused(engine, errors.AlreadyExists, "other content", slug="ticks")


async def test_an_item_of_another_portal_is_refused(tmp_path: Path, shop: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    (second / "t.yaml").write_text(ticks("2.0.0"), encoding="utf-8")
    packing.pack(second)
    async with engine_on(tmp_path / "home", workers=0, portals=(f"shop={shop}", f"second={second}")) as engine:
        await call(engine, "catalog_install", slug="ticks")
        await refused(engine, errors.AlreadyExists, "from the portal shop", slug="ticks", portal="second")


async def test_what_no_portal_has_is_not_found(engine: Engine) -> None:
    await refused(engine, errors.NotFound, "No portal has", slug="nothing")
    error = await refused(engine, errors.NotFound, "no portal nowhere", slug="ticks", portal="nowhere")
    assert "shop" in error.hint


async def test_a_slug_of_two_types_asks_which(engine: Engine, shop: Path) -> None:
    entries = [
        item(SOURCE, "blueprint.yaml", type="blueprint", slug="ticks", version="1.0.0"),
        item(JOB, "job.yaml", type="job", slug="ticks", version="1.0.0"),
    ]
    write_index(shop, *entries)
    error = await refused(engine, errors.InvalidParams, "Several items", slug="ticks")
    assert error.errors[0].pointer == "/type"
    assert (await call(engine, "catalog_install", slug="ticks", type="blueprint"))["changed"] is True


async def test_an_install_has_a_limit(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "MAX_PIECES", 1)
    await refused(engine, errors.InvalidDocument, "more than 1 items", slug="printed-ticks")


async def test_a_race_with_an_own_draft_ends_in_one_of_them(engine: Engine) -> None:
    """The last look is within the transaction: whoever is second is refused."""
    outcomes: list[str] = []

    async def attempt(name: str, **arguments: Any) -> None:
        try:
            await call(engine, name, **arguments)
            outcomes.append(name)
        except errors.AlreadyExists:
            outcomes.append("refused")

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: attempt("catalog_install", slug="ticks"))
        group.start_soon(lambda: attempt("workflow_save_draft", document=SOURCE))
    assert sorted(outcomes) in (["catalog_install", "refused"], ["refused", "workflow_save_draft"])


# -- portals that fail -------------------------------------------------------------------------------------------


async def test_a_broken_index_is_told_and_what_was_seen_stays(engine: Engine, shop: Path) -> None:
    assert (await call(engine, "catalog_search", source="portal"))["total"] == 4
    (shop / "index.json").write_text("{", encoding="utf-8")
    found = await call(engine, "catalog_search", source="portal")
    assert found["total"] == 4
    assert (found["portals"][0]["name"], found["portals"][0]["state"]) == ("shop", "stale")
    await refused(engine, errors.InvalidDocument, "is not JSON", slug="ticks")
    packing.pack(shop)
    (state,) = (await call(engine, "catalog_portals", refresh=True))["items"]
    assert (state["state"], state["error"], state["title"]) == ("ready", None, "")


async def test_a_portal_that_was_never_seen_is_unavailable_and_the_rest_works(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0, portals=(f"gone={tmp_path / 'nowhere'}",)) as engine:
        found = await call(engine, "catalog_search", query="quickstart")
        assert found["total"] >= 1
        assert found["portals"][0]["state"] == "unavailable"
        assert (await call(engine, "catalog_portals"))["items"][0]["error"]["code"] == "target_unavailable"
        await refused(engine, errors.TargetUnavailable, "cannot be read", slug="ticks")


async def test_a_portal_that_hangs_keeps_nobody_waiting_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portals, "PATIENCE_SECONDS", 0.1)
    (tmp_path / "root").mkdir()
    with https(tmp_path / "root", tmp_path / "tls") as server:
        server.answer = lambda path: (200, {"content-length": "1000"}, b"")
        async with engine_on(tmp_path / "home", workers=0, **server.settings()) as engine:
            with anyio.fail_after(2):
                for _ in range(3):
                    assert (await call(engine, "catalog_search", query="quickstart"))["total"] >= 1
        assert len(server.requests) == 1


async def test_an_index_over_https_is_kept_for_the_next_engine_and_asked_for_by_etag(
    tmp_path: Path, shop: Path
) -> None:
    with https(shop, tmp_path / "tls") as server:
        async with engine_on(tmp_path / "home", workers=0, **server.settings()) as engine:
            assert (await call(engine, "catalog_search", source="portal"))["total"] == 4
            assert (await call(engine, "catalog_search", source="portal"))["total"] == 4
            assert len(server.requests) == 1
            assert (await call(engine, "catalog_install", slug="printed-ticks"))["changed"] is True
            assert [path for path, _ in server.requests] == [
                "/index.json",
                "/index.json",
                "/workflow.yaml",
                "/blueprint.yaml",
            ]
            assert "if-none-match" in server.requests[1][1]
        server.answer = lambda path: (503, {}, b"")
        async with engine_on(tmp_path / "home", workers=0, **server.settings()) as engine:
            assert (await call(engine, "catalog_search", source="portal"))["total"] == 4
            assert len(server.requests) == 4
            await refused(engine, errors.TargetUnavailable, "503", slug="hello-job")


async def test_an_old_index_is_renewed_beside_the_search(tmp_path: Path, shop: Path) -> None:
    with https(shop, tmp_path / "tls") as server:
        settings = {**server.settings(), "portal_refresh_seconds": 1}
        async with engine_on(tmp_path / "home", workers=0, **settings) as engine:
            assert (await call(engine, "catalog_search", source="portal"))["total"] == 4
            engine.portals._portals["acme"].fetched_at_ns -= 10**10
            write_index(shop)
            assert (await call(engine, "catalog_search", source="portal"))["total"] == 4  # nobody waits
            with anyio.fail_after(5):
                asking = engine.portals._portals["acme"].asking
                assert asking is not None
                await asking
            assert (await call(engine, "catalog_search", source="portal"))["total"] == 0


async def test_without_the_license_there_is_no_portal_but_what_was_installed_stays(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call(engine, "catalog_install", slug="ticks")
    monkeypatch.setattr(engine.licensing, "_reread", lambda: None)  # as a loop of the engine does now and then
    engine.licensing.current = license.community()
    for name, arguments in (
        ("catalog_search", {"source": "portal"}),
        ("catalog_portals", {}),
        ("catalog_install", {"slug": "hello-job"}),
        ("catalog_update", {"slug": "ticks"}),
    ):
        with pytest.raises(errors.NotLicensed, match="portal"):
            await engine.call(name, arguments, ADMIN)
    found = await call(engine, "catalog_search", query="hello")
    assert "hello-job" not in [one["slug"] for one in found["items"]]
    assert (await call(engine, "catalog_get", slug="ticks"))["availability"] == "installed"
    assert (await call(engine, "catalog_uninstall", slug="ticks"))["changed"] is True


async def test_an_older_database_gets_the_tables(tmp_path: Path, shop: Path) -> None:
    first = open_database(tmp_path / "sluice.db")
    await first.write(lambda db: [db.execute(f"DROP TABLE {t}") for t in ("installed_items", "portal_indexes")])
    await first.write(lambda db: db.execute("DELETE FROM _sqlite_migrations WHERE name = 'm0009_catalog'"))
    await first.close()
    second = open_database(tmp_path / "sluice.db")
    assert await second.read(table.installed, "t") == []
    assert await second.read(table.index, "x") is None
    await second.close()


async def test_the_next_call_for_every_item_works_as_it_is(engine: Engine) -> None:
    """Plan & register: what catalog_get suggests can be called once what it asks to fill is filled in."""
    tried: dict[str, int] = {}
    cursor = None
    rows: list[dict[str, Any]] = []
    while True:
        page = await call(engine, "catalog_search", limit=200, **({"cursor": cursor} if cursor else {}))
        rows += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    for row in rows:
        shown = await call(engine, "catalog_get", slug=row["slug"], type=row["type"])
        step = shown["next"][0]
        arguments = orjson.loads(orjson.dumps(step["arguments"]))
        for place in step["fill"]:
            key, _, field = place.partition(".")
            question = next(one for one in shown["wizard"] if one["field"] == field)
            answer = {"integer": 1, "number": 1, "boolean": True}.get(question["type"], "/var/lib/x")
            arguments[key][field] = question["choices"][0] if question.get("choices") else answer
        result = await call(engine, step["operation"], **arguments)
        if step["operation"] == "deployment_plan":
            assert result["text"]
        elif step["operation"] == "workflow_save_draft":
            assert {fault["code"] for fault in result["errors"]} <= {"unbound_slot", "invalid_parameter"}, row["slug"]
        tried[step["operation"]] = tried.get(step["operation"], 0) + 1
    assert set(tried) == {"deployment_plan", "workflow_save_draft", "workflow_clone", "job_put", "catalog_install"}
