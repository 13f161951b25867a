"""Tasks of authors: workflows, jobs that answer, and triggers."""

from __future__ import annotations

import getpass

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


COUNTER = """\
name: words
input:
  echo:
    trigger: {message: {filter-kind: user, filter-type: [user-generated], filter-tag: words.count}}
    json: true
    event: "{}"
output: {respond: {result: {text: "${msg|job_event.params.text}", language: en}}}
"""


@TASKS.task(
    "I want a tool `words` that takes a `text` and answers with that `text` and `language` = `en`. Write the job and "
    "publish the trigger, and try it with the text `one two three`.",
    own="words words.count text language reply count",
    tools="all",
)
async def make_a_tool_of_a_job(walk: Walk) -> None:
    await walk.does("dsl_reference", kind="output", name="respond")
    await walk.does("dsl_reference", kind="trigger", name="message")
    await walk.does("job_put", document=COUNTER)
    await walk.does("job_deploy", name="words")
    await walk.does(
        "trigger_publish",
        slug="words",
        target_job_name="words",
        target_message_tag="words.count",
        response_slot="reply",
        publication={"mcp": True},
        parameter_schema={"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    )
    await walk.does("trigger_invoke_words", text="one two three")
    walk.shows("succeeded", "one two three")


SPOOLED = """\
kind: workflow
slug: mine
title: "Ingest, spool, deliver"
wizard:
  - {field: path, type: path, required: true}
channels:
  spool: {transport: file-store, with: {path: "{{wizard.path}}"}}
steps:
  - {id: ingest, use: "blueprint:echo-source@1.0.0", with: {interval: 1h}, out: "channel:spool"}
  - {id: deliver, use: "blueprint:file-printer@1.0.0", in: "channel:spool"}
"""


@TASKS.task(
    "Take the perspective for a source and a sink with a durable spool of files between them. The source is one that "
    "makes the same event every hour, the sink prints. Run it as `spooled`, with the spool under `spool`.",
    own="mine",
    tools="all",
)
async def fill_the_slots_of_a_perspective(walk: Walk) -> None:
    await walk.does("catalog_search", query="source sink durable spool files", type="perspective")
    slug = walk.find("items.0.slug", r"slug=([\w-]+)")
    await walk.does("workflow_clone", slug=slug, type="perspective", new_slug="mine")
    revision = walk.number("draft_revision", r"draft_revision: (\d+)")
    await walk.does("palette_get", part="source", query="same event interval")
    await walk.does("workflow_save_draft", document=SPOOLED, base_revision=revision)
    await walk.does("workflow_publish", slug="mine")
    await walk.does("deployment_plan", name="spooled", source="workflow:mine", values={"path": "spool"})
    await walk.does("deployment_apply", plan_id=walk.find("plan_id", r"plan_\w+"))
    walk.shows("running")


VERSIONED = """\
kind: workflow
slug: letters
steps:
  - {id: make, use: "blueprint:echo-source@1.0.0", with: {event: '{"letter": "a"}', interval: 1h}, out: channel:made}
  - {id: show, use: "blueprint:file-printer@1.0.0", with: {prefix: "letter "}, in: channel:made}
"""


async def letters(walk: Walk) -> None:
    await walk.engine("workflow_save_draft", document=VERSIONED)
    await walk.engine("workflow_publish", slug="letters")
    plan = await walk.engine("deployment_plan", name="letters", source="workflow:letters")
    await walk.engine("deployment_apply", plan_id=plan["plan_id"], wait_seconds=20)


@TASKS.task(
    "In our workflow `letters` the letter shall be `b`. Make a new version, show me what differs, and bring the "
    "deployment `letters` to it.",
    given=letters,
    tools="all",
)
async def make_a_new_version(walk: Walk) -> None:
    await walk.does("workflow_clone", slug="letters")
    revision = walk.number("draft_revision", r"draft_revision: (\d+)")
    changed = VERSIONED.replace('"letter": "a"', '"letter": "b"')
    await walk.does("workflow_save_draft", document=changed, base_revision=revision)
    await walk.does("workflow_diff", slug="letters")
    walk.shows("make", "event")
    await walk.does("workflow_publish", slug="letters")
    source = walk.find("source", r"workflow:letters@\d+")
    await walk.does("deployment_plan", name="letters", source=source)
    await walk.does("deployment_apply", plan_id=walk.find("plan_id", r"plan_\w+"))
    walk.shows("running")
    assert (await walk.engine("deployment_get", name="letters"))["source"] == "workflow:letters@2"


KEEP = """\
name: orders
input:
  echo:
    json: true
    event: |
      {"order": 50}
      {"order": 150}
actions:
  - filter: {condition: "order > 100"}
output: {print: STDOUT}
"""


@TASKS.task(
    "I have a job in mind that keeps only orders above 100: input echo, action filter, output print. Before anything "
    "is deployed, show me that of the orders 50 and 150 only the second one comes through.",
    own="orders order keep",
    tools="all",
)
async def try_a_job_before_it_runs(walk: Walk) -> None:
    await walk.does("dsl_reference", kind="action", name="filter")
    await walk.does("job_trace", document=KEEP)
    walk.shows("150")
    emitted = walk.find("would_emit", r"^would_emit(?:.*\n)(- .*\n)+")
    assert "150" in str(emitted) and '"order": 50' not in str(emitted)
    assert "orders" not in str((await walk.engine("job_list"))["items"])


TYPO = """\
kind: workflow
slug: ticks
steps:
  - {id: make, use: "blueprint:echo-sorce@1.0.0", with: {interval: 1h}, out: channel:made}
  - {id: show, use: "blueprint:file-printer@1.0.0", in: channel:mode}
"""


@TASKS.task(
    "Publish this workflow for me; mend what is wrong with it:\n" + TYPO.replace("{", "{{").replace("}", "}}"),
    tools="all",
)
async def mend_a_draft(walk: Walk) -> None:
    await walk.does("workflow_save_draft", document=TYPO)
    revision = walk.number("draft_revision", r"draft_revision: (\d+)")
    mended = TYPO.replace("echo-sorce", "echo-source").replace("channel:mode", "channel:made")
    await walk.does("workflow_save_draft", document=mended, base_revision=revision)
    await walk.does("workflow_publish", slug="ticks")
    walk.shows("published")


async def order_trigger(walk: Walk) -> None:
    document = """\
name: shipper
input: {echo: {event: "{}", json: true, trigger: {message: {filter-tag: ship}}}}
output: {respond: {result: {shipped: "${msg|job_event.params.order}"}}}
"""
    await walk.engine("job_put", document=document)
    await walk.engine("job_deploy", name="shipper")
    await walk.engine(
        "trigger_publish",
        slug="ship",
        target_job_name="shipper",
        target_message_tag="ship",
        response_slot="shipped",
        publication={"mcp": True},
        parameter_schema={"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]},
    )


@TASKS.task(
    "Ship the order `order-99` with the trigger `ship`. The line is bad: send it twice to be sure, but it must be "
    "shipped only once.",
    given=order_trigger,
    own="once-order-99",
)
async def run_once_though_called_twice(walk: Walk) -> None:
    arguments = {"order": "order-99", "_idempotency_key": "once-order-99"}
    await walk.does("trigger_invoke_ship", **arguments)
    first = walk.find("invocation_id", r"inv_\w+")
    await walk.does("trigger_invoke_ship", **arguments)
    walk.shows(first, "deduplicated")
    assert (await walk.engine("trigger_invocation_list", slug="ship"))["total"] == 1


async def sale_trigger(walk: Walk) -> None:
    listens = "input: {echo: {event: x, trigger: {message: {filter-tag: sell}}}}"
    await walk.engine("job_put", document=f"name: seller\n{listens}\noutput: {{discard: {{}}}}\n")
    await walk.engine("job_deploy", name="seller")
    await walk.engine(
        "trigger_publish", slug="sell", target_job_name="seller", target_message_tag="sell", publication={"mcp": True}
    )


@TASKS.task(
    "The sale is over: nobody may run the trigger `sell` any more. Make sure that it cannot be run, and tell me what "
    "somebody hears who tries.",
    given=sale_trigger,
    tools="all",
)
async def deactivate_a_trigger(walk: Walk) -> None:
    await walk.does("trigger_deactivate", slug="sell")
    await walk.call("trigger_invoke", slug="sell", params={})
    assert walk.failed
    walk.shows("sell", "deactivated", getpass.getuser())
