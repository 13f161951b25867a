"""Tasks of those who ask why: jobs that fail, runs that do not end, logs, messages, and who did what."""

from __future__ import annotations

from tests import waiting
from tests.walks.walk import Tasks, Walk

TASKS = Tasks()
ECHO = "name: {name}\ninput: {{echo: {{event: x, trigger: {{message: {{filter-tag: {tag}}}}}}}}}\noutput: {output}\n"


async def blocked_path(walk: Walk) -> None:
    (walk.session.data / "taken").write_text("a file where a directory should be")
    plan = await walk.engine(
        "deployment_plan",
        name="mirror",
        source="workflow:quickstart-file-store-roundtrip@1",
        values={"path": "taken"},
    )
    await walk.engine("deployment_apply", plan_id=plan["plan_id"], wait_seconds=0, health_seconds=1)

    async def summary() -> str:
        return str((await walk.engine("explain", kind="deployment", id="mirror"))["summary"])

    # The longer it fails, the longer it waits: by now most of the time it is not just up again.
    await waiting.until(summary, lambda text: "1 of 4" in text and "up again" not in text)


@TASKS.task(
    "The deployment `mirror` is not well. Why, and which of its values do I have to change?", given=blocked_path
)
async def find_the_responsible_value(walk: Walk) -> None:
    await walk.does("explain", kind="deployment", id="mirror")
    walk.shows("path", "taken")


async def handler_not_deployed(walk: Walk) -> None:
    document = ECHO.format(name="sleeper", tag="wake", output="{respond: {result: {awake: true}}}")
    await walk.engine("job_put", document=document)
    await walk.engine(
        "trigger_publish",
        slug="wake",
        target_job_name="sleeper",
        target_message_tag="wake",
        response_slot="awake",
        publication={"mcp": True},
    )


@TASKS.task(
    "Run the trigger `wake` for me. It does not seem to work: find out why, mend it, and run it again.",
    given=handler_not_deployed,
    tools="all",
)
async def run_a_trigger_whose_job_is_not_deployed(walk: Walk) -> None:
    await walk.call("trigger_invoke_wake")
    await walk.does("explain", kind="trigger", id="wake")
    walk.shows("sleeper")
    await walk.does("job_deploy", name="sleeper")
    await walk.does("trigger_invoke_wake")
    walk.shows("succeeded", "awake")
