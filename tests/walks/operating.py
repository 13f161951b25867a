"""Tasks of operators: deployments from the catalog to their removal, workers, contexts, and what is kept."""

from __future__ import annotations

from tests.walks.walk import Tasks, Walk

TASKS = Tasks()
ROUNDTRIP = "workflow:quickstart-file-store-roundtrip@1"


async def deployed(walk: Walk, name: str, **values: str) -> int:
    """The revision that a colleague brings a deployment to."""
    plan = await walk.engine("deployment_plan", name=name, source=ROUNDTRIP, values={"path": name, **values})
    applied = await walk.engine("deployment_apply", plan_id=plan["plan_id"], wait_seconds=30)
    assert applied["state"] == "running", applied
    return int(applied["revision"])


@TASKS.task(
    "We have nothing yet. Find a ready-made workflow that writes events to files on disk and reads them back, and run "
    "it as `first`, with its files under `first-files`. Does it run?"
)
async def deploy_from_the_catalog(walk: Walk) -> None:
    await walk.does("catalog_search", query="writes events to files on disk reads them back", type="workflow")
    slug = walk.find("items.0.slug", r"^- .*?slug=([\w-]+)")
    await walk.does("catalog_get", slug=slug, type="workflow")
    source = walk.find("next.0.arguments.source", r"\"source\":\s*\"(workflow:[\w@-]+)\"")
    path = walk.find("wizard.0.field", r"field=(\w+)")
    await walk.does("deployment_plan", name="first", source=source, values={path: "first-files"})
    await walk.does("deployment_apply", plan_id=walk.find("plan_id", r"plan_\w+"))
    walk.shows("running")
    assert (await walk.engine("deployment_get", name="first"))["state"] == "running"


async def shop_with_alpha(walk: Walk) -> None:
    await deployed(walk, "shop", guid_prefix="alpha")


@TASKS.task(
    "The deployment `shop` puts a prefix before the names of its files. Make it `gamma`, and change nothing else.",
    given=shop_with_alpha,
)
async def change_a_value(walk: Walk) -> None:
    await walk.does("deployment_get", name="shop", detail="detailed")
    field = "guid_prefix"
    await walk.does("deployment_plan", name="shop", values={field: "gamma"})
    walk.shows("alpha", "gamma")
    await walk.does("deployment_apply", plan_id=walk.find("plan_id", r"plan_\w+"))
    walk.shows("running")
    values = (await walk.engine("deployment_get", name="shop", detail="detailed"))["values"]
    assert (values["guid_prefix"], values["path"]) == ("gamma", "shop")


async def ledger_three_times(walk: Walk) -> None:
    for prefix in ("one", "two", "three"):
        await deployed(walk, "ledger", guid_prefix=prefix)


@TASKS.task(
    "Since the last change of the deployment `ledger` something is off. Who changed what there? Take it back to how it "
    "was before that change.",
    given=ledger_three_times,
)
async def take_a_change_back(walk: Walk) -> None:
    await walk.does("deployment_history", name="ledger")
    walk.shows("maria", "two", "three")
    before = walk.number("items.1.revision", r"^- .*\n- .*?revision=(\d+)")
    await walk.does("deployment_plan", name="ledger", to_revision=before)
    await walk.does("deployment_apply", plan_id=walk.find("plan_id", r"plan_\w+"), reason="something is off")
    walk.shows("running")
    assert (await walk.engine("deployment_get", name="ledger", detail="detailed"))["values"]["guid_prefix"] == "two"


@TASKS.task(
    "What differs between the first version of the deployment `ledger-copy` and the one that runs now?",
    given=lambda walk: twice(walk),
    tools="read-only",
)
async def compare_revisions(walk: Walk) -> None:
    await walk.does("deployment_get", name="ledger-copy")
    now = walk.number("revision", r"revision[=:] ?(\d+)")
    await walk.does("deployment_history", name="ledger-copy", compare=[1, now])
    walk.shows("guid_prefix", "north", "south")


async def twice(walk: Walk) -> None:
    for prefix in ("north", "south"):
        await deployed(walk, "ledger-copy", guid_prefix=prefix)


async def planned_and_overtaken(walk: Walk) -> dict[str, str]:
    await deployed(walk, "stock", guid_prefix="old")
    arguments = {"name": "stock", "values": {"guid_prefix": "mine"}}
    plan = (await walk.session.client.call_tool("deployment_plan", arguments)).structured_content
    await deployed(walk, "stock", guid_prefix="theirs")
    return {"plan": plan["plan_id"]}


@TASKS.task(
    "Please apply the plan {plan}, which we made this morning: the prefix of the deployment `stock` becomes `mine`. If "
    "somebody was faster, tell me who, and do it all the same.",
    given=planned_and_overtaken,
)
async def apply_a_stale_plan(walk: Walk) -> None:
    await walk.call("deployment_apply", plan_id=walk.told["plan"])
    assert walk.failed
    walk.shows("stale_plan", "maria")
    await walk.does("plan_get", plan_id=walk.told["plan"])
    await walk.does("deployment_plan", name="stock", values={"guid_prefix": "mine"})
    await walk.does("deployment_apply", plan_id=walk.find("plan_id", r"plan_\w+"))
    assert (await walk.engine("deployment_get", name="stock", detail="detailed"))["values"]["guid_prefix"] == "mine"
