"""The spellings of older documents, each beside the form that is written today: both are the same job."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel

from core.documents import load
from core.dsl.language import compile as compiler
from core.dsl.language import templates
from core.dsl.reference import schemas
from core.errors import InvalidDocument
from tests import cases


def job(part: str) -> dict[str, Any]:
    """A whole job around one component, written as in a document."""
    kind = part.split(maxsplit=1)[0].rstrip(":")
    lines = {"input": "input: {echo: {event: x}}", "output": "output: {discard: {}}"}
    text = "\n".join(["name: j", *(line for key, line in lines.items() if key != kind), part])
    return load(text)[0].data


def meaning(part: str) -> list[Any]:
    """What the components of a job are, read by the models and without a trace of how it was written."""
    checked = compiler.check_job(templates.stage(job(part), {}))
    return [_plain(one) for one in (checked.input, *checked.actions, checked.output)]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    return value


ECHO = "input: {echo: {event: x, %s}}"
MESSAGE = "message: {filter-type: [pipe-idle]}"
POLL = "input: {http-poll: {url: 'https://example.com/', %s}}"
SERVER = "input: {http-server: {address: '127.0.0.1:8080', %s}}"
STORE = "input: {file-store: {path: /data, %s}}"
CONVERT = "actions: [{convert: %s}]"
ASSERT = "actions: [{assert: {schema: {schema-string: '{}'}, behaviour: %s}}]"
NUMBERS = "{conversions: [{field: a, conversion: num}, {field: b, conversion: bool}]}"

TABLE = {
    # ---- schedules
    "interval-scalar": (ECHO % "trigger: {interval: 60s}", ECHO % "trigger: {interval: {duration: 60s}}"),
    "cron-scalar": (ECHO % "trigger: {cron: '0 0 * * * *'}", ECHO % "trigger: {cron: {expression: '0 0 * * * *'}}"),
    "offset-snake": (
        ECHO % "trigger: {interval: {duration: 1m, random_offset: 5s}}",
        ECHO % "trigger: {interval: {duration: 1m, random-offset: 5s}}",
    ),
    "offset-beside": (
        ECHO % "trigger: {cron: '@hourly', random_offset: 5s, window: {size: 1h}}",
        ECHO % "trigger: {cron: {expression: '@hourly', random-offset: 5s, window: {size: 1h}}}",
    ),
    "window-beside-an-object": (
        ECHO % "trigger: {interval: {duration: 1m}, window: 2m, block: true}",
        ECHO % "trigger: {interval: {duration: 1m, window: {size: 2m}, block: true}}",
    ),
    "interval-flat": (ECHO % "interval: 60s", ECHO % "trigger: {interval: 60s}"),
    "interval-flat-all": (
        ECHO % "interval: 60s, random-offset: 5s, block: true, window: {size: 2m, offset: 10s}",
        ECHO % "trigger: {interval: {duration: 60s, random-offset: 5s, block: true, window: {size: 2m, offset: 10s}}}",
    ),
    "interval-flat-immediate": (ECHO % "interval: 60s, immediate: false", ECHO % "trigger: {interval: 60s}"),
    "interval-flat-once": ("input: {exec: {command: 'true', interval: 0s}}", "input: {exec: {command: 'true'}}"),
    "cron-flat": (
        POLL % "cron: '0 0 * * * *', immediate: true",
        POLL % "trigger: {cron: {expression: '0 0 * * * *', immediate: true}}",
    ),
    "cron-flat-shortcut": (STORE % "cron: '@daily'", STORE % "trigger: {cron: '@daily'}"),
    "kv-flat": (
        "input: {worker-kv: {namespace: n, operation: {get: {key: k}}, interval: 5s}}",
        "input: {worker-kv: {namespace: n, operation: {get: {key: k}}, trigger: {interval: 5s}}}",
    ),
    "when": (ECHO % "when: {message-received: {filter-type: [pipe-idle]}}", ECHO % f"trigger: {{{MESSAGE}}}"),
    "window-start": (
        ECHO % "interval: 1h, window: {size: 1h, start_time: '2024-01-01 00:00:00'}",
        ECHO % "trigger: {interval: {duration: 1h, window: {size: 1h, start-time: '2024-01-01 00:00:00'}}}",
    ),
    # ---- inputs
    "exec-timeout": (
        "input: {exec: {command: 'true', timeout: 30s}}",
        "input: {exec: {command: 'true', timeout: {value: 30s}}}",
    ),
    "poll-timeout": (POLL % "timeout: 2s", POLL % "timeout: {value: 2s}"),
    "poll-address": ("input: {http-poll: {address: 'https://example.com/'}}", POLL % "method: get"),
    "breaks-echo": (ECHO % "ignore-line-breaks: true", ECHO % "ignore-linebreaks: true"),
    "breaks-poll": (POLL % "ignore-line-breaks: true", POLL % "ignore-linebreaks: true"),
    "breaks-store": (STORE % "ignore-line-breaks: true", STORE % "ignore-linebreaks: true"),
    "breaks-server": (SERVER % "ignore-line-breaks: true", SERVER % "ignore-linebreaks: true"),
    "breaks-files": (
        "input: {files: {path: /data/x, mode: batch, ignore-line-breaks: true}}",
        "input: {files: {path: /data/x, mode: batch, ignore-linebreaks: true}}",
    ),
    "breaks-exec": (
        "input: {exec: {command: 'true', ignore-line-breaks: true}}",
        "input: {exec: {command: 'true', ignore-linebreaks: true}}",
    ),
    "mode-list": (STORE % "mode: list", STORE % "mode: list-objects"),
    "mode-download": (STORE % "mode: download, object-names: [a]", STORE % "mode: download-objects, object-names: [a]"),
    "mode-both": (STORE % "mode: list-and-download", STORE % "mode: list-and-download-objects"),
    "server-snake": (
        SERVER % "only_body: true, custom_response: ok, json_body: true",
        SERVER % "only-body: true, custom-response: ok, json: true",
    ),
    "sources": (
        "input: {internal-messages: {filter-source: [agent, pipe]}}",
        "input: {internal-messages: {filter-source: [worker, job]}}",
    ),
    # ---- actions
    "convert-pairs": (CONVERT % "[{a: num}, {b: bool}]", CONVERT % NUMBERS),
    "convert-map": (CONVERT % "{conversions: {a: num, b: bool}}", CONVERT % NUMBERS),
    "convert-fields": (CONVERT % "{fields: [{a: num}, {b: bool}]}", CONVERT % NUMBERS),
    "assert-map": (ASSERT % "{drop-onfailure: {}}", ASSERT % "drop-onfailure"),
    "assert-abort": (ASSERT % "{abort-on-failure: {}}", ASSERT % "abort-on-failure"),
    "rename-pairs": (
        "actions: [{rename: {fields: [{a: b}]}}]",
        "actions: [{rename: {fields: {a: b}}}]",
    ),
    "secrets": (
        "actions: [{add: {output-fields: {k: '{{secrets.api}}'}}}]",
        "actions: [{add: {output-fields: {k: '${secrets.api}'}}}]",
    ),
    # ---- outputs
    "print-scalar": ("output: {print: STDERR}", "output: {print: {target: STDERR}}"),
    "post-address": (
        "output: {http-post: {address: 'https://example.com/'}}",
        "output: {http-post: {url: 'https://example.com/'}}",
    ),
    "fixed-size": (
        "output: {file-store: {path: /data, object-name: a, batch: {mode: fixed, fixed_size: 5}}}",
        "output: {file-store: {path: /data, object-name: {name: a}, batch: {mode: fixed, fixed-size: 5}}}",
    ),
}


@cases.table("name", TABLE)
def test_an_older_spelling_means_what_the_present_one_means(name: str) -> None:
    older, present = TABLE[name]
    assert meaning(older) == meaning(present)


@cases.table("name", TABLE)
def test_the_published_schema_knows_both_spellings(name: str) -> None:
    validator = jsonschema.Draft202012Validator(schemas.job_schema())
    for part in TABLE[name]:
        assert list(validator.iter_errors(job(part))) == []


REFUSED = {
    "two-triggers": (ECHO % "interval: 1m, trigger: {cron: '@daily'}", "interval belongs into trigger"),
    "two-timers": (ECHO % "interval: 1m, cron: '@daily'", "exactly one of interval, cron and message"),
    "when-and-timer": (ECHO % "interval: 1m, when: {message-received: {}}", "exclude each other"),
    "when-else": (ECHO % "when: {pipe-started: {}}", "message-received"),
    "offset-alone": (ECHO % "random-offset: 1m", "random-offset belongs to an interval or a cron expression"),
    "beside-message": (ECHO % f"trigger: {{{MESSAGE}, window: 1m}}", "window belongs to one of interval and cron"),
    "twice": (ECHO % "trigger: {interval: {duration: 1m, block: true}, block: true}", "block stands in interval and"),
    "four-fields": (ECHO % "cron: '0 * * *'", "or six with the second first"),
    "no-duration": (ECHO % "interval: soon", "soon is not a duration"),
}


@cases.table("name", REFUSED)
def test_what_is_no_schedule_is_refused_in_words_of_the_document(name: str) -> None:
    part, told = REFUSED[name]
    with pytest.raises(InvalidDocument) as error:
        compiler.check_job(job(part))
    (problem,) = error.value.errors
    assert told in problem.message
    assert problem.pointer.startswith("/input/echo")
