"""Every MCP method, resource, prompt, completion and task, and a sample of the tools: by those who may and by others.

The rows are the handlers of the server, the tools of its list and the tables of its resources and completions: a new
one without arguments here fails a test.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import anyio
import httpx
import orjson
import pytest

from core.model.operation import Operation
from core.model.principal import Caller
from core.model.trigger import TOOL_PREFIX
from core.operations import REGISTRY
from mcp_server import completion, prompts, resources, server
from mcp_server.session import EngineSession, Options
from tests import cases
from tests.attacks import rig
from tests.engines import ADMIN
from tests.furnished import CANARY, NAMES, arguments_of, furnish, other, settled
from tests.identity.peer import ERAS, Peer

pytestmark = pytest.mark.anyio
Params = dict[str, Any]

OF_RESOURCE = {  # the arguments of URI templates, where the operation behind them calls them something else
    ("catalog", "type"): "workflow",
    ("schema", "kind"): "job",
}
SAME_FOR_ALL = {
    # Methods that show the same to everybody: what the program is, not what a tenant has.
    "ping", "resources/list", "resources/templates/list", "server/discover",
}  # fmt: skip
ONE_ERA = {"ping": ERAS[0], "resources/subscribe": ERAS[0], "resources/unsubscribe": ERAS[0]}
ONE_ERA |= dict.fromkeys(
    ("server/discover", "subscriptions/listen", "tasks/get", "tasks/cancel", "tasks/update"), ERAS[1]
)
SHARED = {"worker_get", "worker_group_get", "worker_group_rebalance"}
"""Workers are there for every tenant; what they run is not."""
MAKES = {
    # They make a thing of the caller's own tenant, whatever others call theirs.
    "context_set", "job_put", "kv_set", "secret_set", "trigger_publish", "variable_set", "workflow_save_draft",
}  # fmt: skip


def _names(real: bool) -> dict[str, str]:
    return {key: name if real else str(other(name)) for key, name in NAMES.items()}


def _of_kind(kind: resources.Kind, real: bool) -> str:
    named = _names(real)
    given = {}
    for variable in kind.variables:
        toolset = REGISTRY[kind.operation].toolset
        given[variable] = OF_RESOURCE.get((kind.name, variable)) or named[f"{toolset} {variable}"]
    return kind.uri(**given)


def _uris(real: bool) -> list[str]:
    return [_of_kind(kind, real) for kind in resources.KINDS if kind.name != "schema"]


def _prompts(real: bool) -> list[Params]:
    named = _names(real)
    about = {"workflow": named["workflows slug"], "deployment": named["deployments name"], "name": named["jobs name"]}
    about |= {"slug": named["triggers slug"], "job": named["jobs name"], "worker_group": "default", "goal": "x"}
    return [
        {"name": prompt.name, "arguments": {argument.name: about[argument.name] for argument in prompt.arguments}}
        for prompt in prompts.PROMPTS
    ]


def _completions(real: bool) -> list[Params]:
    """Every argument that has names: the beginning of it, and nothing."""
    template = {name: uri for uri, name in completion._PREDEFINED.items()}
    found: list[Params] = []
    for place, argument in completion._LISTINGS:
        by_prompt = {"type": "ref/prompt", "name": place}
        ref = by_prompt if place in prompts.BY_NAME else {"type": "ref/resource", "uri": template[place]}
        found.append({"ref": ref, "argument": {"name": argument, "value": ""}})
    return found


def _sample() -> list[Operation]:
    """One tool for each role, effect and toolset, of those that name what a tenant owns.

    That every operation is judged by these rules is tried without a door: tests/operations/test_rights.py.
    """
    found: dict[Any, Operation] = {}
    for op in REGISTRY:
        if op.tool and op.name not in MAKES | SHARED:
            found.setdefault((op.role, op.effect, op.toolset), op)
    return list(found.values())


SAMPLE = _sample()


def _tools(real: bool) -> list[Params]:
    calls = [{"name": op.name, "arguments": arguments_of(op, real=real)} for op in SAMPLE]
    own = {"name": TOOL_PREFIX + _names(real)["triggers slug"], "arguments": {"env": "x"}}
    return [*calls, own, {"name": "mcp_server_metrics", "arguments": {}}]


METHODS: dict[str, Callable[[bool], list[Params]]] = {
    # Of each method the params that name what tenant-a has (True), or what nobody has.
    "completion/complete": _completions,
    "ping": lambda real: [{}],
    "prompts/get": _prompts,
    "prompts/list": lambda real: [{}],
    "resources/list": lambda real: [{}],
    "resources/read": lambda real: [{"uri": uri} for uri in _uris(real)],
    "resources/subscribe": lambda real: [{"uri": uri} for uri in _uris(real)],
    "resources/templates/list": lambda real: [{}],
    "resources/unsubscribe": lambda real: [{"uri": uri} for uri in _uris(real)],
    "server/discover": lambda real: [{}],
    "subscriptions/listen": lambda real: [],  # a stream: test_who_follows_a_thing_of_another_tenant_hears_nothing
    "tasks/cancel": lambda real: [{"taskId": _names(real)["triggers invocation_id"]}],
    "tasks/get": lambda real: [{"taskId": _names(real)["triggers invocation_id"]}],
    "tasks/update": lambda real: [{"taskId": _names(real)["triggers invocation_id"], "inputResponses": {}}],
    "tools/call": _tools,
    "tools/list": lambda real: [{}],
}
CELLS = [(method, era) for method in METHODS for era in ERAS if ONE_ERA.get(method, era) == era]


async def _nowhere() -> EngineSession:
    raise AssertionError("no session is needed to look at the handlers")


def test_every_method_of_the_server_has_a_row() -> None:
    app = server.http_app(_nowhere, Options(caller=Caller(ADMIN.principal)))
    assert set(app.state.server._request_handlers) == set(METHODS)


@dataclass
class Scene:
    """The server, and a client for each identity and era."""

    server: rig.Target
    client: httpx.AsyncClient

    @asynccontextmanager
    async def peer(self, who: str, era: str) -> AsyncIterator[Peer]:
        peer = Peer(self.client, era, {"authorization": f"Bearer {self.server.tokens[who]}"})
        with anyio.fail_after(60):
            await peer.greet()
            yield peer


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with rig.target(tmp_path_factory.mktemp("matrix") / "home", mcp=True, workers=1) as made:
        with anyio.fail_after(120):
            await furnish(made.engine)
        async with made.client(None) as client:
            yield Scene(made, client)


async def _both(peer: Peer, method: str, theirs: Params, nobodys: Params) -> list[tuple[int, str]]:
    """What is answered to a question about theirs and to one about nothing, without the names in which they differ."""
    told = []
    named = sorted(set(_differences(theirs, nobodys)), key=lambda pair: -len(pair[0]))
    for side, params in enumerate((theirs, nobodys)):
        status, message = await peer.ask(method, params)
        text = settled(orjson.dumps(message).decode())
        for number, pair in enumerate(named):
            text = text.replace(pair[side], f"<{number}>")
        told.append((status, text))
    return told


def _differences(one: Any, two: Any) -> Iterator[tuple[str, str]]:
    """The texts that differ at the same place; of a URI also its parts."""
    if isinstance(one, dict):
        for key in one:
            yield from _differences(one[key], two[key])
    elif isinstance(one, str) and one != two:
        yield one, two
        if "://" in one:
            yield from (pair for pair in zip(one.split("/")[2:], two.split("/")[2:], strict=True) if len(set(pair)) > 1)
        if one.startswith(TOOL_PREFIX):
            yield one.removeprefix(TOOL_PREFIX), two.removeprefix(TOOL_PREFIX)


async def test_without_a_credential_that_counts_nothing_is_answered(scene: Scene) -> None:
    with anyio.fail_after(60), cases.every() as case:
        for method, era in CELLS:
            params = (METHODS[method](True) or [{}])[0]
            answers = []
            with case(method, era):
                for headers in ({}, {"authorization": "Bearer sluice_" + "0" * 64}, {"authorization": "Basic YTpi"}):
                    scene.server.forgive()
                    peer = Peer(scene.client, era, dict(headers))
                    answers.append(await scene.client.post("/mcp", **peer.request(method, params)))
                assert {answer.status_code for answer in answers} == {401}
                assert len({answer.content for answer in answers}) == 1


@cases.table("era", ERAS)
async def test_to_another_tenant_there_is_nothing(era: str, scene: Scene) -> None:
    async with scene.peer("other", era) as peer:
        with cases.every() as case:
            for method in (method for method, of in CELLS if of == era and method not in SAME_FOR_ALL):
                for theirs, nobodys in zip(METHODS[method](True), METHODS[method](False), strict=True):
                    with case(method, theirs):
                        answers = await _both(peer, method, theirs, nobodys)
                        if theirs.get("name") != "mcp_server_metrics":  # which counts these calls; it has a test below
                            assert answers[0] == answers[1]
                        assert CANARY not in answers[0][1]


@cases.table("era", ERAS)
async def test_what_the_program_is_shows_the_same_to_everybody(era: str, scene: Scene) -> None:
    methods = [method for method, of in CELLS if of == era and method in SAME_FOR_ALL]
    answers: dict[str, list[Any]] = {method: [] for method in methods}
    for who in ("admin", "user", "second", "other"):
        async with scene.peer(who, era) as peer:
            for method in methods:
                answers[method].append(await peer.ask(method, METHODS[method](True)[0]))
    with cases.every() as case:
        for method, (first, *others) in answers.items():
            with case(method):
                assert first[0] == 200 and others == [first] * 3


@cases.table("era", ERAS)
async def test_in_the_tenant_itself_it_is_there(era: str, scene: Scene) -> None:
    """Without this the tests above could pass with names that nobody has."""
    reads = {op.name for op in REGISTRY if op.effect == "read"}
    found: dict[str, str] = {}
    async with scene.peer("admin", era) as peer:
        with cases.every() as case:
            for method in ("resources/read", "prompts/get", "tools/call", "completion/complete"):
                for params in METHODS[method](True):
                    if method != "tools/call" or params["name"] in reads:
                        with case(method, params):
                            status, message = await peer.ask(method, params)
                            assert status == 200 and "result" in message, message
                            assert not message["result"].get("isError"), message
                            found[method] = found.get(method, "") + str(message)
    named = {method for method, text in found.items() if any(name in text for name in NAMES.values())}
    assert named >= {"resources/read", "tools/call", "completion/complete"}


@pytest.mark.parametrize("era", ERAS)
async def test_a_user_sees_and_runs_no_tool_of_an_admin(era: str, scene: Scene) -> None:
    for_admins = {op.name for op in REGISTRY if op.tool and op.role in ("operator", "admin")}
    async with scene.peer("admin", era) as admin, scene.peer("user", era) as user:
        listed = [
            {tool["name"] for tool in (await peer.ask("tools/list", {}))[1]["result"]["tools"]}
            for peer in (admin, user)
        ]
        assert for_admins <= listed[0] and not for_admins & listed[1]
        with cases.every() as case:
            for params in _tools(True):
                if params["name"] in for_admins:
                    with case(params):
                        _, message = await user.ask("tools/call", params)
                        assert message["result"]["structuredContent"]["error"]["code"] == "forbidden"


@pytest.mark.parametrize("who", ["user", "second"])
async def test_a_task_is_there_for_whoever_started_it_alone(who: str, scene: Scene) -> None:
    """The run of the furnished tenant was started by alice: in her tenant it is a record, and nobody else's task."""
    async with scene.peer(who, ERAS[1]) as peer:
        for method in ("tasks/get", "tasks/cancel", "tasks/update"):
            told = await _both(peer, method, METHODS[method](True)[0], METHODS[method](False)[0])
            assert told[0] == told[1]
        _, run = await peer.ask("tools/call", {"name": "trigger_invoke_a_trigger", "arguments": {"env": "x"}})
        id = run["result"]["structuredContent"]["invocation_id"]
        assert (await peer.ask("tasks/get", {"taskId": id}))[1]["result"]["taskId"] == id
    async with scene.peer("second" if who == "user" else "user", ERAS[1]) as stranger:
        assert "error" in (await stranger.ask("tasks/get", {"taskId": id}))[1]


async def _counted(peer: Peer) -> Params:
    _, message = await peer.ask("tools/call", {"name": "mcp_server_metrics", "arguments": {}})
    return dict(message["result"]["structuredContent"]["calls"])


@cases.table("who", ["user", "second", "admin", "other"])
async def test_a_session_counts_the_calls_of_its_own_identity(who: str, scene: Scene) -> None:
    async with scene.peer("admin", ERAS[1]) as admin, scene.peer(who, ERAS[1]) as peer:
        before = await _counted(peer)
        for _ in range(3):
            await admin.ask("tools/call", {"name": "trigger_invoke_a_trigger", "arguments": {"env": "x"}})
        after = await _counted(peer)
    assert after["total"] - before["total"] == (4 if who == "admin" else 1), "its own question is a call"
    if who == "other":
        assert not any(
            name in after["by_tool"] for name in ("trigger_invoke_a_trigger", "trigger_invoke_smoke_trigger")
        )


async def test_who_follows_a_thing_of_another_tenant_hears_nothing(scene: Scene) -> None:
    """A change in tenant-a, then one in tenant-b: its admin, who follows both, hears of the second alone."""
    theirs = f"deployment://{NAMES['deployments name']}"
    ours = "workflow://of-tenant-b"
    wanted = {"notifications": {"toolsListChanged": True, "resourceSubscriptions": [theirs, ours]}}
    document = "kind: workflow\nslug: of-tenant-b\ntitle: Mine\nsteps: []\n"
    heard = []
    async with scene.peer("other", ERAS[1]) as peer:
        request = peer.request("subscriptions/listen", wanted)
        async with peer.client.stream("POST", "/mcp", **request) as stream:
            lines = stream.aiter_lines()
            async for line in lines:  # the stream is open when it says so
                if "acknowledged" in line:
                    break
            engine = scene.server.engine
            await engine.call("deployment_reconcile", {"name": NAMES["deployments name"]}, ADMIN)
            await engine.call("deployment_set", {"name": NAMES["deployments name"], "interval_seconds": 60}, ADMIN)
            engine.announce("deployment", {"tenant": "tenant-a", "name": NAMES["deployments name"]})
            await engine.call("workflow_save_draft", {"document": document}, replace(ADMIN, tenant="tenant-b"))
            async for line in lines:
                heard.append(line)
                if ours in line:
                    break
    told = "\n".join(heard)
    assert theirs not in told and "list_changed" not in told


async def test_asking_for_the_tenant_by_its_name_is_no_way_in(scene: Scene) -> None:
    with anyio.fail_after(20), cases.every() as case:
        for tenant, era in itertools.product(("tenant-a", "tenant-x"), ERAS):
            headers = {"authorization": f"Bearer {scene.server.tokens['other']}", "x-sluice-tenant": tenant}
            peer = Peer(scene.client, era, headers)
            with case(tenant, era):
                answer = await scene.client.post("/mcp", **peer.request("tools/list", {}))
                assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
                assert answer.text.count(tenant) == 1 and "tenant-b" in answer.json()["hint"]
