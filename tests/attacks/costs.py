"""A process that reads and checks hostile input and reports what each cost; run by test_costs.py.

`python -m tests.attacks.costs PART`: the inputs have up to 1 MiB / PART, and the budget is smaller as well, so that
what takes quadratic time is beyond it at every size. Prints one JSON object: {"budget": seconds, "cpu": {name: seconds
on a machine as fast as that of tests/slowness.py}, "rss": bytes beyond what the imports took, "reached": [what an audit
hook saw of files and sockets while schemas were checked], "control": [what it saw of a file that was opened]}.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from core import documents, errors
from core.documents import canonical
from core.dsl.component import REGISTRY, Run
from core.dsl.events import patterns
from core.dsl.language import compile as compiler
from core.dsl.language import conditions, templates
from core.triggers import schemas
from core.workflows import check as workflows
from mcp_server import stdin
from tests import slowness
from tests.dsl.stub import Stub

PART = int(sys.argv[1]) if __name__ == "__main__" else 1
SIZE = 1024 * 1024 // PART
# Of processor time, on a machine as fast as that of tests/slowness.py. A short input may take three times its part:
# what is refused for its number of items is read as far as that at every size.
SECONDS = 1.0 if PART == 1 else 3.0 / PART
JUDGED_SECONDS = SECONDS / 2  # what takes longer is judged by how slow the machine is just then
TRIES = 4
Work = Callable[[], object]
reached: list[str] = []
watching = False


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if watching and event in ("open", "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system"):
        reached.append(f"{event} {args[0]!r}")


def many(count: int) -> range:
    """As many numbers as an input of this size has of what one of 1 MiB has `count` of."""
    return range(count // PART)


def full(text: str) -> str:
    """The text again and again, up to the size."""
    return (text * (SIZE // len(text) + 1))[: SIZE - 100]


def texts() -> Iterator[tuple[str, str]]:
    yield "flat list", "[" + full("1,") + "1]"
    yield "flat map", "{" + ",".join(f'"k{n}":{n}' for n in many(60_000)) + "}"
    yield "lists of lists", "[" + full("[],") + "[]]"
    yield "depth", full("[")
    yield "depth of maps", full('{"a":')
    yield "one string", '"' + full("a") + '"'
    yield "escapes", '"' + full("\\u0041") + '"'
    yield "surrogates", '"' + full("\\ud800") + '"'
    yield "quotes", full('"')
    yield "quotes that end nothing", "[" * 70 + '"' + full('\\"') + "\\"
    yield "digits", full("9")
    yield "fraction", "0." + full("1")
    yield "exponents", "[" + full("1e308,") + "1]"
    yield "one key again", "{" + full('"a":1,') + '"a":1}'
    yield "blanks", full(" ")
    yield "colons", full("a: ")
    yield "dashes", full("- ")
    yield "nested dashes", "\n".join("  " * n + "-" for n in range(math.isqrt(1_000_000 // PART)))
    yield "anchors", "\n".join(f"a{n}: &a{n} 1" for n in many(40_000))
    yield "aliases", "a: &a 1\n" + full("b: *a\n")
    yield "questions", full("? ")
    yield "block text", "a: |\n" + full("  x\n")
    yield "folded text", "a: >\n" + full("  x\n\n")
    yield "comments", full("# x\n")
    yield "documents", full("---\na: 1\n")
    yield "tags", full("!a ")
    yield "quoted keys", full('"a": "b"\n')
    yield "flow in block", full("- {a: [1, {b: c}]}\n")
    yield "tabs", full("\t")
    yield "bidi", full("\u202e")
    yield "map of maps", "{" + ",".join(f"k{n}: {{v: 1.5e3}}" for n in many(49_000)) + "}"
    yield "long pointers", "a" * 500 + ":\n" + "".join(f" k{n}: {n}\n" for n in many(70_000))
    yield "tag directives", "".join(f"%TAG !a{n}! x\n" for n in many(60_000)) + "---\na: 1"
    yield "directives", full("%A b\n")
    yield "other breaks", "a: '" + full("\u2028") + "'"
    yield "every character", "a: '\x85" + "".join(map(chr, range(0x10FFFD, 0x10FFFD - 250_000 // PART, -1))) + "'"


def schemata() -> Iterator[tuple[str, Any, Any]]:
    """(name, schema, value)"""
    yield "remote reference", {"$ref": "http://127.0.0.1:9/x"}, {}
    yield "file reference", {"$ref": "file:///etc/passwd"}, {}
    yield "own reference", {"$ref": "#"}, {}
    yield "dynamic reference", {"$dynamicRef": "http://127.0.0.1:9/x"}, {}
    yield "id elsewhere", {"$id": "http://127.0.0.1:9/x", "properties": {"a": {"$ref": "b.json"}}}, {"a": 1}
    yield "meta elsewhere", {"$schema": "http://127.0.0.1:9/x"}, {}
    yield "many properties", {"properties": {f"p{n}": {"type": "string"} for n in many(20_000)}}, {}
    yield "many branches", {"anyOf": [{"required": [f"k{n}"]} for n in many(900)]}, {f"x{n}": 1 for n in many(50_000)}
    yield "pattern", {"properties": {"v": {"type": "string", "pattern": "^(a+)+$"}}}, {"v": "a" * (SIZE // 2) + "!"}
    yield "many patterns", {"patternProperties": {f"^(a|b){{{n}}}$": {} for n in many(300)}}, {"a" * (SIZE // 12): 1}
    yield "names", {"propertyNames": {"pattern": "^(a|aa)+$"}}, {"a" * (SIZE // 2) + "!": 1}
    yield "unique", {"properties": {"v": {"uniqueItems": True, "maxItems": 1000}}}, {"v": [[n] for n in many(90_000)]}
    yield "contains", {"properties": {"v": {"contains": {"const": {"a": 1}}}}}, {"v": [{"a": 2}] * (SIZE // 12)}
    yield "large enum", {"properties": {"v": {"enum": [f"e{n}" * 40 for n in many(5_000)]}}}, {"v": "e"}
    yield "deep value", {"additionalProperties": {"$ref": "#"}}, _deep(60)
    yield "large constant", {"properties": {"v": {"const": list(many(100_000))}}}, {"v": list(many(100_000))}
    yield "large default", {"properties": {"v": {"default": list(many(100_000))}}}, {}


def _deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def cases() -> Iterator[tuple[str, Work]]:
    for name, text in texts():
        yield f"json {name}", lambda text=text: canonical.parse_json(text.encode("utf-8", "surrogatepass"))
        yield f"line {name}", lambda text=text: stdin.check(text.encode("utf-8", "surrogatepass"))
        yield f"yaml {name}", lambda text=text: documents.load(text)
        yield f"digest {name}", lambda text=text: canonical.params_digest({"a": text})
        yield f"template {name}", lambda text=text: templates.template(text, Stub())({}, Run())
        yield f"condition {name}", lambda text=text: conditions.parse(text)
        yield f"pattern {name}", lambda text=text: patterns.compile(text)
    for text in (
        full("${a"),
        full("${a}"),
        full("${"),
        full("{{a}}"),
        full("{{"),
        full("$$"),
        full("${a||"),
        full("}"),
    ):
        yield f"template {text[:5]}", lambda text=text: templates.template(text, Stub())({"a": "b"}, Run())
        yield f"stage {text[:5]}", lambda text=text: templates.stage({"v": text}, {"a": "b"})
    for text in (
        full("(a"),
        full("((a)b)"),
        full("a and "),
        full("not "),
        full("a == 1 or "),
        full("(") + full(")")[:9],
    ):
        yield f"condition {text[:5]}", lambda text=text: conditions.parse(text)
        yield f"pattern {text[:5]}", lambda text=text: patterns.compile(text)
    actions = full("  - add: {output-fields: {a: 1}}\n")
    yield "job of many actions", lambda: _job(f"name: j\ninput: {{echo: {{event: x}}}}\nactions:\n{actions}")
    yield "job of wrong actions", lambda: _job("name: j\nactions:\n" + full("  - x: 1\n"))
    yield "job of unknown keys", lambda: _job("name: j\n" + "\n".join(f"k{n}: 1" for n in many(40_000)))
    steps = full("  - {id: a, uses: b@1.0.0}\n")
    yield "workflow of many steps", lambda: _workflow(f"kind: workflow\nslug: w\ntitle: W\nsteps:\n{steps}")


def _job(text: str) -> None:
    compiler.check_job(documents.load(text)[0].data)


def _workflow(text: str) -> None:
    workflows.check(documents.load(text)[0], lambda *_: None)


def main() -> None:
    global watching
    list(REGISTRY)  # each component is imported
    compiler.check_job({"name": "warm", "input": {"echo": {"event": "x"}}, "output": {"discard": {}}})
    sys.addaudithook(_hook)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu: dict[str, float] = {}

    def once(work: Work) -> float:
        started = time.process_time()
        try:
            work()
        except (errors.SluiceError, ValueError, conditions.ConditionError):
            pass  # refused, which is the best that can become of it
        return time.process_time() - started

    def judged(work: Work) -> float:
        slow = slowness.factor()
        spent = once(work)
        return spent / max(slow, slowness.factor())

    def cost(name: str, work: Work) -> None:
        cpu[name] = once(work)
        if cpu[name] > JUDGED_SECONDS:
            for _ in range(TRIES):  # the machine is not as fast at every moment
                cpu[name] = judged(work)
                if cpu[name] <= SECONDS:
                    break

    def fits(schema: Any, value: Any) -> None:
        if not schemas.problems(schema, "/s"):
            schemas.compile_schema(schema).is_valid(value)

    for name, work in cases():
        cost(name, work)
    watching = True
    os.close(os.open(os.devnull, os.O_RDONLY))
    control, reached[:] = list(reached), []
    for name, schema, value in schemata():
        cost(f"schema {name}", lambda schema=schema, value=value: fits({"type": "object", **schema}, value))
    watching = False
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(json.dumps({"budget": SECONDS, "cpu": cpu, "rss": grown, "reached": reached, "control": control}))


if __name__ == "__main__":
    main()
