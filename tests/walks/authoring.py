"""Tasks of authors: workflows, jobs that answer, and triggers."""

from __future__ import annotations

from tests.walks.walk import Tasks, Walk

TASKS = Tasks()
GREETINGS = """\
kind: workflow
slug: hourly-hello
title: Hourly hello
steps:
  - {id: make, use: "blueprint:echo-source@1.0.0", with: {event: '{"say": "hello"}', interval: 1h}, out: channel:words}
  - {id: show, use: "blueprint:file-printer@1.0.0", with: {prefix: "said: "}, in: channel:words}
"""


@TASKS.task(
    "Write a workflow `hourly-hello` that makes an event with `say` = `hello` every hour and prints it to the log with "
    "`said: ` before it. Publish it and run it as `hello`.",
    own="make show words hello Hourly",
    tools="all",
)
async def write_a_workflow_and_run_it(walk: Walk) -> None:
    await walk.does("palette_get", part="source", query="event interval")
    await walk.does("palette_get", part="sink", query="log")
    await walk.does("workflow_save_draft", document=GREETINGS)
    await walk.does("workflow_publish", slug="hourly-hello")
    await walk.does("deployment_plan", name="hello", source="workflow:hourly-hello")
    await walk.does("deployment_apply", plan_id=walk.find("plan_id", r"plan_\w+"))
    walk.shows("running")
