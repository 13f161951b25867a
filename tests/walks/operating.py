"""Tasks of operators: deployments from the catalog to their removal, workers, contexts, and what is kept."""

from __future__ import annotations

from typing import Any

from tests import waiting
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
    # The figures of the jobs are there, or not, in both sessions alike.
    await waiting.until(lambda: figures(walk, "shop"), all)


async def figures(walk: Walk, name: str) -> list[Any]:
    """What each workload reports of itself; empty until it does."""
    shown = await walk.engine("deployment_get", name=name, detail="detailed")
    return [one["metrics"] for one in shown["workloads"]]


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


async def shelf(walk: Walk) -> None:
    await deployed(walk, "shelf", guid_prefix="left")


@TASKS.task(
    "I would like the prefix of the deployment `shelf` to be `right`. What would that change? If you can, do it; if "
    "you cannot, tell me what I have to do so that you can.",
    given=shelf,
    tools="read-only",
)
async def plan_in_a_session_that_only_reads(walk: Walk) -> None:
    await walk.does("deployment_history", name="shelf", limit=1)
    walk.shows("guid_prefix")
    await walk.does("deployment_plan", name="shelf", values={"guid_prefix": "right"})
    walk.shows("left", "right")
    assert "--allow-write" in walk.known
    assert (await walk.engine("deployment_get", name="shelf", detail="detailed"))["values"]["guid_prefix"] == "left"


@TASKS.task(
    "Run the workflow `quickstart-file-store-roundtrip` as `fast` in the worker group `gpu`, with its files under "
    "`fast`. If that cannot be, say why, and run it where it can.",
    tools="all",
)
async def deploy_where_there_are_workers(walk: Walk) -> None:
    source = "workflow:quickstart-file-store-roundtrip"
    await walk.does("deployment_plan", name="fast", source=source, worker_group="gpu", values={"path": "fast"})
    walk.shows("group gpu has a worker")
    group = walk.find("warnings.0.hint", r"Groups with workers.*").partition(": ")[2].partition(",")[0]
    await walk.does("deployment_plan", name="fast", source=source, worker_group=group, values={"path": "fast"})
    await walk.does("deployment_apply", plan_id=walk.find("plan_id", r"plan_\w+"))
    walk.shows("running")


async def attic(walk: Walk) -> None:
    await deployed(walk, "attic")
    await waiting.until(lambda: any((walk.session.data / "attic").rglob("*.json")))


@TASKS.task(
    "We do not need the deployment `attic` any more. Remove it, and tell me what of it stays on the disk.", given=attic
)
async def remove_a_deployment(walk: Walk) -> None:
    await walk.does("deployment_plan", name="attic", remove=True)
    walk.shows("attic", "files")
    await walk.does("deployment_apply", plan_id=walk.find("plan_id", r"plan_\w+"))
    walk.shows("removed")
    assert "attic" in walk.session.asked[-1], "the user is asked before something goes"
    assert "attic" not in str((await walk.engine("deployment_list"))["items"])


async def job_on_a_spare_worker(walk: Walk) -> dict[str, str]:
    document = "name: ticker\ninput: {echo: {event: x, trigger: {interval: 1h}}}\noutput: {discard: {}}\n"
    await walk.engine("job_put", document=document)
    await walk.engine("job_deploy", name="ticker", worker_group="spare")
    job = await walk.engine("job_get", name="ticker")
    return {"worker": job["workloads"][0]["worker"]}


@TASKS.task(
    "The machine of the worker `{worker}` gets a new disk. Clear the worker without losing anything, and tell me where "
    "the job `ticker` went. The disk is in by then: take the worker back into service.",
    given=job_on_a_spare_worker,
    tools="all",
)
async def drain_a_worker(walk: Walk) -> None:
    worker = walk.told["worker"]
    await walk.does("worker_drain", name=worker)
    walk.shows("ticker")
    now = (await walk.engine("job_get", name="ticker"))["workloads"][0]["worker"]
    assert now != worker
    walk.shows(now)
    await walk.does("worker_resume", name=worker)
    await walk.engine("job_undeploy", name="ticker")


async def two_regions(walk: Walk) -> None:
    await walk.engine("context_set", values={"region": "north"})
    await walk.engine("context_set", environment="prod", values={"region": "south"})


@TASKS.task(
    "Which `region` do jobs see in the environment prod, and where does that come from? Make it `west` there, and "
    "leave everything else.",
    given=two_regions,
    tools="all",
)
async def set_a_context_value(walk: Walk) -> None:
    await walk.does("context_get", environment="prod")
    walk.shows("south", "environment")
    await walk.does("context_set", environment="prod", values={"region": "west"})
    assert "west" in str(await walk.engine("context_get", environment="prod"))
    assert "north" in str(await walk.engine("context_get"))


async def pace(walk: Walk) -> None:
    await walk.engine("variable_set", name="PACE", value="slow")


@TASKS.task("What is the variable `PACE`, and since when? Make it `fast`.", given=pace, tools="all")
async def change_a_variable(walk: Walk) -> None:
    await walk.does("variable_list")
    walk.shows("PACE", "slow", "maria")
    await walk.does("variable_set", name="PACE", value="fast")
    assert "fast" in str(await walk.engine("variable_list"))


SECRETIVE = """\
kind: workflow
slug: secretive
steps:
  - {id: make, use: "blueprint:echo-source@1.0.0", with: {event: '{"n": 1}', interval: 1h}, out: channel:made}
  - {id: show, use: "blueprint:file-printer@1.0.0", with: {prefix: "${secret|shop/mark}"}, in: channel:made}
"""


async def workflow_with_a_secret(walk: Walk) -> None:
    await walk.engine("workflow_save_draft", document=SECRETIVE)
    await walk.engine("workflow_publish", slug="secretive")


@TASKS.task(
    "Run our workflow `secretive` as `secretive`. If something is missing, tell me what I have to do; I do it at once.",
    given=workflow_with_a_secret,
)
async def deploy_what_needs_a_secret(walk: Walk) -> None:
    await walk.does("deployment_plan", name="secretive", source="workflow:secretive")
    walk.shows("shop/mark", "sluice secret set shop/mark")
    await walk.engine("secret_set", name="shop/mark", value="hush-hush")  # the user does
    await walk.does("deployment_plan", name="secretive", source="workflow:secretive")
    await walk.does("deployment_apply", plan_id=walk.find("plan_id", r"plan_\w+"))
    walk.shows("running")
    assert "hush-hush" not in walk.known


async def orders_seen(walk: Walk) -> None:
    for number in range(1, 41):
        await walk.engine("kv_set", namespace="orders-seen", key=f"order-{number}", value={"total": number * 11})
    await walk.engine("kv_set", namespace="pages", key="front", value=1)


@TASKS.task(
    "Our jobs remember somewhere in the KV store which orders they have seen. What is kept of order 17?",
    given=orders_seen,
    tools="all",
    own="order-17",
)
async def browse_what_jobs_keep(walk: Walk) -> None:
    await walk.does("kv_namespaces")
    namespace = walk.find("items.0.namespace", r"namespace=(\S*orders\S*?),")
    await walk.does("kv_list", namespace=namespace, prefix="order-17")
    walk.shows("order-17", "187")


MANIFEST = {
    "schema_version": "v1",
    "name": "shop",
    "scope": {"tenant_id": "", "environment": "dev"},
    "source": {"repo": "https://git.example/shop.git", "ref": "refs/heads/main", "commit_sha": "a" * 40},
}
REGION = {"kind": "context", "path": "c.yaml", "text": "kind: context\nenvironment: dev\nvalues: {region: eu}\n"}


async def drifted_files(walk: Walk) -> None:
    manifest = {**MANIFEST, "scope": {"tenant_id": walk.session.tenant, "environment": "dev"}}
    await walk.engine("gitops_apply", manifest=manifest, files=[REGION])
    await walk.engine("context_set", environment="dev", values={"region": "us"})


@TASKS.task(
    "Is the environment dev as our repository says? Which commit was applied last, and what did somebody change since?",
    given=drifted_files,
    tools="all",
)
async def compare_an_environment_with_its_files(walk: Walk) -> None:
    await walk.does("gitops_status", environment="dev")
    walk.shows("a" * 12, "region", "drift")


async def two_values_for_the_test(walk: Walk) -> None:
    await walk.engine("context_set", environment="test", values={"colour": "red", "size": 4, "weight": 5})
    await walk.session.engine("context_delete", {"environment": "test", "keys": ["size"]}, username="otto")


@TASKS.task(
    "Delete the context value `weight` of the environment `test`. And there was a `size` as well: who took that away, "
    "when, and was it you?",
    given=two_values_for_the_test,
    tools="all",
)
async def tell_who_did_what(walk: Walk) -> None:
    await walk.does("context_delete", environment="test", keys=["weight"])
    await walk.does("audit_list", operation="context_delete")
    walk.shows("otto", "size", "weight", "mcp")
    assert "weight" not in (await walk.engine("context_get", environment="test"))["values"]
