"""The parts of the job language that are no components, for its reference: documents, placeholders, conditions.

Each example is a whole job; a test runs every one. Another test holds the names against the code that knows them.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.dsl.language.omitted import OMITTED


@dataclass(frozen=True, slots=True)
class Topic:
    """One entry of the reference that is written by hand. `rows` are (word, meaning)."""

    kind: str
    name: str
    summary: str
    text: str
    rows: tuple[tuple[str, str], ...]
    example: str


TOPICS = (
    Topic(
        "document",
        "job",
        "One input, any number of actions in order, one output.",
        "YAML or JSON; unknown keys are refused. Without a trigger the input runs once and the job ends. An input,"
        " action or output is a map with one key, its name. An event is a JSON object; a line of text is {_raw: line}.",
        (
            ("name", "Required: letters, digits and _ . : - (at most 200)."),
            ("input", "Required: where events come from, e.g. {echo: {event: hello}}."),
            ("actions", "What happens to each event, in this order; may be left out."),
            ("output", "Required: where events go, e.g. {print: STDOUT}."),
            ("emit", "Messages beside the data, sent after the output has accepted it; see document emit."),
            ("on-error", "What becomes of refused events: keep (default), log, fail or send; see document on-error."),
            ("context", "Values for {{name}} that nothing else gives."),
            ("description", "What the job is for."),
            ("tags", "Words to find it by."),
            ("kind", "`job`; may be left out."),
        ),
        """
name: greet
context: {greeting: hello}
input: {echo: {event: '{"who": "world"}', json: true}}
actions:
  - add: {output-fields: {text: "{{greeting}} ${who}"}}
output: {print: STDOUT}
""",
    ),
    Topic(
        "document",
        "action-keys",
        "The keys that every action has.",
        "They stand beside the action's own keys.",
        (
            ("condition", "A Lua expression over the fields of the event; the action runs only when it is true."),
            ("description", "What the step is for; shown by job_trace and in logs."),
            ("suppress-warnings", "Do not write the action's warnings to the log of the job."),
        ),
        """
name: mark-errors
input: {echo: {event: '{"level": "error"}', json: true}}
actions:
  - add: {description: wake somebody, condition: 'level == "error"', output-fields: {page: true}}
output: {print: STDOUT}
""",
    ),
    Topic(
        "document",
        "selector",
        "How a key names a field of an event.",
        "A step that is a number selects an element of an array.",
        (
            ("a.b", "A dotted path."),
            ("/a/b", "A JSON Pointer; /a.b is one field with a dot in its name."),
            ("a/b", "A path with slashes."),
            ("$.a['b'][0]", "The part of JSONPath that names one field."),
        ),
        """
name: pick
input: {echo: {event: '{"a": {"b": 1}}', json: true}}
actions:
  - copy: {fields: [{"/a/b": c}]}
output: {print: {input-field: c}}
""",
    ),
    Topic(
        "expansion",
        "event",
        "${field} is the value of a field of the event.",
        "Filled in for each event, in one pass: a value that looks like a placeholder is not looked at again. The"
        " result is always text; re-type it with convert (conversion: json keeps integers and objects). A field that is"
        " missing gives an empty text and a warning. $${ writes ${ itself.",
        (
            ("${a.b}", "A dotted path; ${a/b} and the JSON Pointer ${/a/b} name the same."),
            ("${a||text}", "The text after || when there is no value; it has no placeholders."),
        ),
        """
name: fill
input: {echo: {event: '{"user": {"name": "ann"}}', json: true}}
actions:
  - add: {output-fields: {text: "hello ${user.name}, from ${city||nowhere}"}}
output: {print: STDOUT}
""",
    ),
    Topic(
        "expansion",
        "msg",
        "${msg|path} is the payload of the message that started the run.",
        "For inputs with trigger: message. A trigger's call has job_event.params, job_event.invocation_id,"
        " job_event.trigger.tenant_id and more. Values come as text: re-type them with convert, conversion: json."
        " Give `message` to job_trace to try it.",
        (
            ("${msg|job_event.params.x}", "A parameter of a trigger's call."),
            ("${msg|job_event.invocation_id}", "Which invocation it is; the output respond answers it."),
        ),
        """
name: on-message
input:
  echo: {event: '{"env": "${msg|job_event.params.env||none}"}', json: true, trigger: {message: {filter-tag: demo.run}}}
output: {print: STDOUT}
""",
    ),
    Topic(
        "expansion",
        "time",
        "${time|NAME} is the time of the firing, or its window.",
        "NAME is now_time, scheduled_time, start_time or end_time followed by _secs, _ms or _iso (UTC). The scheduled"
        " time is the one of the timetable that a run is for. Start and end are those of the trigger's window; without"
        " a window both are the time of the firing.",
        (
            ("${time|now_time_iso}", "When the run began, as 2026-01-31T12:00:00.000Z."),
            ("${time|scheduled_time_iso}", "When it was due: of a run that makes up for another time, that time."),
            ("${time|start_time_secs}", "The start of the window in seconds since the epoch."),
            ("${time|end_time_ms}", "Its end in milliseconds."),
        ),
        """
name: stamp
input: {echo: {event: '{"n": 1}', json: true}}
actions:
  - add: {output-fields: {at: "${time|now_time_iso}"}}
output: {print: STDOUT}
""",
    ),
    Topic(
        "expansion",
        "stat",
        "${stat|NAME} is what an output counts, for names of objects.",
        "Known while the output works; elsewhere it gives an empty text.",
        (
            ("${stat|_BATCH_NUMBER}", "The number of the batch, from 1."),
            ("${stat|_BATCH_SIZE}", "How many events are in it."),
            ("${stat|__SCHEMA_NUMBER}", "The number of the events' schema, with track-schema."),
        ),
        """
name: numbered
input: {echo: {event: '{"n": 1}', json: true}}
output:
  file-store: {path: numbered, object-name: {name: "part-${stat|_BATCH_NUMBER}.json"}}
""",
    ),
    Topic(
        "expansion",
        "dyn",
        "${dyn|NAME} is a dynamic variable, read anew in each run.",
        "Set by the message output (set-variable-name), or by people. Not for secrets.",
        (("${dyn|NAME||text}", "With the text to use while it is not set."),),
        """
name: read-variable
input: {echo: {event: '{"n": 1}', json: true}}
actions:
  - add: {output-fields: {limit: "${dyn|limit||10}"}}
output: {print: STDOUT}
""",
    ),
    Topic(
        "expansion",
        "secret",
        "${secret|scope/name} is a secret, given to deployed jobs only.",
        "It is not part of the staged document, is masked in logs, and cannot have a fallback. A trace shows ***."
        " ${secrets.name} is an older spelling.",
        (("${secret|api/token}", "The secret `token` of the scope `api`."),),
        """
name: with-secret
input: {echo: {event: '{"n": 1}', json: true}}
actions:
  - add: {condition: "false", output-fields: {token: "${secret|api/token}"}}
output: {print: STDOUT}
""",
    ),
    Topic(
        "expansion",
        "cred",
        "${cred|id|part} is a part of a stored credential.",
        "Like ${secret|…}: for deployed jobs only, masked, without a fallback.",
        (("${cred|db|password}", "The part `password` of the credential `db`."),),
        """
name: with-credential
input: {echo: {event: '{"n": 1}', json: true}}
actions:
  - add: {condition: "false", output-fields: {password: "${cred|db|password}"}}
output: {print: STDOUT}
""",
    ),
    Topic(
        "expansion",
        "constants",
        "@{name} is a fact about the running job, filled in before ${…}.",
        "@@{ writes @{ itself.",
        (
            ("@{job}", "The name of the job."),
            ("@{worker}", "The name of the worker."),
            ("@{tenant}", "The tenant."),
            ("@{workload}", "The id of this replica."),
        ),
        """
name: who-am-i
input: {echo: {event: '{"n": 1}', json: true}}
actions:
  - add: {output-fields: {by: "@{job} on @{worker}"}}
output: {print: STDOUT}
""",
    ),
    Topic(
        "expansion",
        "context",
        "{{name}} is a value of the context, filled in when a job is staged.",
        "A placeholder that is the whole text keeps the type of its value; inside a longer text it becomes text. A name"
        " without a value fails staging. Asked in this order: job, worker, global, the document's own context block."
        " It is part of the staged document, so it is not for secrets.",
        (("{{a.b}}", "A value inside an object."),),
        """
name: configured
context: {limits: {high: 90}}
input: {echo: {event: '{"disk": 97}', json: true}}
actions:
  - add: {output-fields: {high: "{{limits.high}}"}}
output: {print: STDOUT}
""",
    ),
    Topic(
        "document",
        "left-out",
        "Components that other documentation of this language names and Sluice does not have.",
        "Most of them can be reached by exec, which runs any program whose output is lines (an administrator must allow"
        " it), or by HTTP.",
        tuple(OMITTED.items()),
        """
name: from-another-program
input: {exec: {command: "echo '{\\"n\\": 1}'", json: true}}  # as: kcat -C -e -b broker:9092 -t orders -J
output: {print: STDOUT}
""",
    ),
    Topic(
        "condition",
        "lua",
        "A condition is one Lua expression over the fields of the event.",
        'A name is a field (level, user.name, event["odd name"]); one that is missing or null is nil. It holds when'
        " its value is neither nil nor false. One that fails (nil > 3, say) does not hold. Compare with ==, ~=, <, >;"
        " join with and, or, not. Triggers have no conditions.",
        (
            ("count()", "The number of the event in this run, from 1."),
            ("matches(text, pattern)", "Whether a regular expression (RE2) is found."),
            ("assert, error, ipairs, next, pairs, select, tonumber, tostring, type, array", "Functions."),
            ("math, string, table, utf8", "Libraries of Lua 5.4, without what reaches outside."),
        ),
        """
name: only-errors
input: {echo: {event: '{"level": "error", "status": 503}', json: true}}
actions:
  - filter: {condition: 'level == "error" and (status or 0) >= 500 and matches(level, "^err")'}
output: {print: STDOUT}
""",
    ),
    Topic(
        "trigger",
        "once",
        "Without a trigger an input runs exactly once and the job is complete.",
        "Inputs that wait (files in tail mode, http-server, internal-messages, jetstream, kafka, worker-channel) run"
        " until they are stopped and have no trigger.",
        (),
        """
name: once
input: {echo: {event: hello}}
output: {print: STDOUT}
""",
    ),
)
