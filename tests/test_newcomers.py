"""What newcomers mistyped, and what they have to be told: one line each, of documents, command lines and tools."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import errors, operations
from core.catalog import builtin
from core.catalog.collection import Collection
from core.documents import load
from core.dsl.language import cron, cron_slips
from core.jobs import staging
from core.workflows import authoring, check, modules
from mcp_server import absent
from mcp_server.cli import main, meanings
from tests import cases
from tests.mcp_server.http import service as http_service

JOB = "name: a\ninput:\n  %s\n%soutput: {print: STDOUT}\n"
ECHO = "echo: {event: hello}"


def action(text: str) -> str:
    return JOB % (ECHO, f"actions:\n- {text}\n")


def condition(text: str) -> str:
    return action(f"filter: {{condition: '{text}'}}")


def timer(expression: str) -> str:
    return JOB % (f"exec: {{command: date, cron: '{expression}'}}", "")


JOBS = {
    # braces without quotes, with the place and the quoted form
    "a placeholder in a map": (action("add: {output-fields: {p: {{name}}}}"), ["5:28: {{name}}", '"{{name}}"']),
    "a placeholder on its own": (action("add:\n    output-fields:\n      p: {{ name }}"), ["7:10", '"{{ name }}"']),
    "a placeholder before a text": (action("add: {output-fields: {p: {{dir}}/x.txt}}"), ['"{{dir}}/x.txt"']),
    "a placeholder behind a text": (action("add: {output-fields: {p: a-{{dir}}}}"), ["5:28", '"a-{{dir}}"']),
    "a placeholder as a name": ("name: {{name}}\ninput: {}\n", ["1:7", '"{{name}}"']),
    "a field of an event": (action("add: {output-fields: {a: ${msg|x}}}"), ["5:28", '"${msg|x}"']),
    "the name of the job": (action("add: {output-fields: {a: @{job}}}"), ["5:28", '"@{job}"']),
    # YAML
    "a tab": ("name: a\ninput:\n\techo: {event: a}\n", ["3:1", "Indent with spaces"]),
    "a colon in a text": (JOB % ("echo: {event: hello: world}", ""), ["3:22", "double quotes"]),
    "a colon in a title": ("name: a: b\n", ["1:8", "has to stand in quotes"]),
    "no space behind a colon": ("name:a\ninput: {}\n", ["2:6", "space behind its colon"]),
    "an apostrophe": (JOB % ("echo: {event: 'it's'}", ""), ["3:21", "double quotes"]),
    "a list": ("- name: a\n", ["1:1", "a map of keys"]),
    # Lua
    "not equal": (condition("a != 1"), ["~= for !="]),
    "not equal in a script": (action("script: {code: 'if event.a != 1 then return nil end'}"), ["~= for !="]),
    "and": (condition("a == 1 && b == 2"), ["and for &&"]),
    "or": (condition("a == 1 || b == 2"), ["or for ||"]),
    "not": (condition("!a"), ["not for !"]),
    "three equals": (condition("a === 1"), ["== for ==="]),
    "one equals": (condition("a = 1"), ["write == to compare"]),
    # cron
    "four fields": (timer("0 9 * *"), ["five fields", "did you mean 0 9 * * *?"]),
    "a year": (timer("0 0 12 1 1 ? 2030"), ["did you mean 0 0 12 1 1 *?"]),
    "24 o'clock": (timer("0 24 * * *"), ["hour 24 is not from 0 to 23", "did you mean 0 0 * * *?"]),
    "minute 60": (timer("60 * * * *"), ["minute 60 is not from 0 to 59", "did you mean 0 * * * *?"]),
    "a weekday": (timer("0 9 * * MON-FRY"), ["did you mean 0 9 * * MON-FRI?"]),
    "weekdays to nine": (timer("0 9 * * 1-9"), ["weekday 9", "did you mean 0 9 * * 1-7?"]),
    "every five minutes": (timer("every 5m"), ["interval: 5m"]),
    "a shortcut": (timer("@dayly"), ["did you mean @daily?"]),
    # keys and words
    "a key": ("name: a\ninput:\n  echo: {event: a}\noutptu: {print: STDOUT}\n", ["1 fault.", "did you mean 'output'?"]),
    "an underscore": (action("add: {output_fields: {a: 1}}"), ["1 fault.", "did you mean 'output-fields'?"]),
    "an action": (action("filtr: {condition: 'a'}"), ["did you mean 'filter'?"]),
    "an input": (JOB % ("file: {path: a}", ""), ["did you mean 'files'?"]),
    "small letters": ("name: a\ninput:\n  echo: {event: a}\noutput: {print: stdout}\n", ["STDOUT"]),
    "two outputs": ("name: a\ninput:\n  echo: {event: a}\noutput: {print: a, file: b}\n", ["exactly one key", "print"]),
    "a kind": ("kind: jbo\nname: a\n", ["did you mean job?"]),
    "a text for an output": ("name: a\ninput:\n  echo: {event: a}\noutput: stdout\n", ["exactly one key", "'stdout'"]),
}

WORKFLOW = """kind: workflow
slug: w
title: W
channels:
  c: {transport: %s}
steps:
  - {id: generate, use: "blueprint:echo-source@1.0.0", with: {event: '{"a":1}'}, out: channel:c}
  - {id: print, use: "blueprint:file-printer@1.0.0", in: channel:c}
"""
WORKFLOWS = {
    "an unknown transport": (WORKFLOW % "kafka, with: {path: /x, guid-prefix: a, brokers: b, topic: c}", ["1 fault."]),
    "a misspelt transport": (WORKFLOW % "filestore", ["1 fault.", "did you mean 'file-store'?"]),
    "a misspelt module": ((WORKFLOW % "worker-channel").replace("echo-source", "echo-sorce"), ["echo-source@1.0.0?"]),
    "a version": ((WORKFLOW % "worker-channel").replace("source@1.0.0", "source@9.0.0"), ["Versions: 1.0.0"]),
    "a parameter": ((WORKFLOW % "worker-channel").replace("event:", "evnt:"), ["did you mean event?"]),
    "a bare channel": ((WORKFLOW % "worker-channel").replace("in: channel:c", "in: c"), ["Write channel:c"]),
    "a wizard field": (WORKFLOW % "file-store, with: {path: {{wizard.path}}}", ["5:43", '"{{wizard.path}}"']),
}

LINES = {
    "ps": "`sluice status`",
    "ls": "`sluice status`",
    "deploy shop": "`sluice up`",
    "invoke greet": "`sluice trigger invoke`",
    "run greet": "`sluice trigger invoke`",
    "rm shop": "`sluice plan --remove`",
    "delete shop": "`sluice plan --remove`",
    "delete secret web/token": "`sluice secret delete`",
    "init": "`sluice serve`",
    "start": "`sluice serve`",
    "stop shop": "`sluice plan --remove`",
    "job logs shop": "`sluice job log`",
    "job ls": "`sluice job list`",
    "job rm shop": "`sluice job delete` or `sluice job undeploy`",
    "jobs": "`sluice job list`",
    "triggers list": "`sluice trigger list`",
    "get jobs": "`sluice job list`",
    "describe job shop": "`sluice job show`",
    "create token": "`sluice token create`",
    "token make": "`sluice token create`",
    "trigger invok greet": "`sluice trigger invoke`",
    "stauts": "`sluice status`",
    "version": "`sluice --version`",
    "dashboard": "`sluice console`",
    "plan": "`plan` needs NAME",
    "plan shop --from": "--from needs a value",
    "plan shop --form workflow:x": "--from",
    "job validate": "`job validate` needs --file",
    "job validate shop.yaml": "sluice job validate -f shop.yaml",
    "apply": "Name a plan",
    "trigger invoke": "`trigger invoke` needs SLUG",
    "context set": "at least one KEY=VALUE",
    "serve --prot 1": "--port",
    "serve --port abc": "--port",
    "--hlep": "Did you mean --help?",
    "--jsn status": "Did you mean --json?",
}

TOOLS = {"list_jobs": "job_list", "jobs_list": "job_list", "get-job": "job_get", "triger_list": "trigger_list"}


def refusal(text: str) -> str:
    try:
        staging.stage(text)
    except errors.InvalidDocument as error:
        return str(error)
    raise AssertionError("it is a job")


@cases.table("name", JOBS)
def test_job(name: str) -> None:
    text, parts = JOBS[name]
    said = refusal(text)
    assert [part for part in parts if part not in said] == [], said
    places = [word for word in said.split() if word.startswith("<document>:")]
    assert len(places) == len(set(places)), said


@pytest.fixture(scope="module")
def known() -> modules.Modules:
    return modules.of(Collection(builtin.load()).entries)


@cases.table("name", WORKFLOWS)
def test_workflow(name: str, known: modules.Modules) -> None:
    text, parts = WORKFLOWS[name]
    try:
        report = check.check(authoring.read(text), known)
        said = "\n".join([report.message, *(f"{one.where} {one.message} {one.hint}" for one in report.faults)])
    except errors.InvalidDocument as error:
        said = str(error)
    assert [part for part in parts if part not in said] == [], said


@pytest.mark.parametrize("line", LINES)
def test_command(line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code = main.run(shlex.split(line))
    said = capsys.readouterr().err
    assert code != 0
    assert LINES[line] in said
    assert "requires an argument" not in said


def test_each_word_of_other_tools_leads_to_commands_that_there_are() -> None:
    paths = set(main.commands())
    last = {path.rpartition(" ")[2] for path in paths if " " in path}
    wrong, idle = [], []
    for word, meant in meanings.MEANT.items():
        parts = [part.strip() for part in meant.split(",")]
        wrong += [
            (word, part) for part in parts if not part.startswith("--") and part.partition(" --")[0] not in paths | last
        ]
        in_a_group = any(f"{path.split()[0]} {part}" in paths for part in parts for path in paths if " " in path)
        if word not in paths and not meanings.commands_for([word], paths) and not in_a_group:
            idle.append(word)
    assert (wrong, idle) == ([], [])


@cases.table("name", TOOLS)
def test_tool(name: str) -> None:
    assert f"Did you mean {TOOLS[name]}?" in absent.unheard_of(name, {op.name: op for op in operations.REGISTRY})


@pytest.mark.parametrize("name", ["documnt", "yaml"])
def test_an_argument_under_another_name(name: str) -> None:
    with pytest.raises(errors.InvalidParams) as refused:
        operations.REGISTRY.get("job_put").validate({name: "name: a"})  # type: ignore[union-attr]
    assert f"Write document for {name}." in refused.value.hint


fields = st.lists(
    st.one_of(
        st.sampled_from(["*", "?", "H", "*/5", "*/0", "MON", "Mondy", "JAN-DEC", "1-99", "59-1", "0,60", "L"]),
        st.integers(0, 99).map(str),
        st.text("0123456789*/,-?HLMON ", max_size=6),
    ),
    min_size=1,
    max_size=8,
)


@given(fields)
def test_a_suggested_cron_expression_holds(parts: list[str]) -> None:
    """Of five fields and of six."""
    suggested = cron_slips.meant(" ".join(parts), cron.fields_of)
    if not suggested.startswith("; did you mean "):
        return
    assert cron.fields_of(suggested.removeprefix("; did you mean ").removesuffix("?"))


def test_a_quoted_placeholder_is_what_was_meant() -> None:
    """What the message says to write is read as the text that was written."""
    for written in ("{{name}}", "{{ a.b }}", "${msg|x}", "@{job}", "{{dir}}/out.txt"):
        said = refusal(action(f"add: {{output-fields: {{p: {written}}}}}"))
        quoted = said.partition("quote it: ")[2].partition(".\n")[0].removesuffix(".")
        assert load(f"p: {quoted}")[0].data == {"p": written}


@pytest.mark.anyio
async def test_a_path() -> None:
    async with http_service.client(http_service.Service()) as client:
        answer = await client.get("/api/thing")
    assert answer.status_code == 404
    assert "Did you mean /api/things?" in answer.json()["hint"]
