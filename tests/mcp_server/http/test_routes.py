"""Requests to arguments, results to statuses, faults to problem documents."""

from __future__ import annotations

import anyio
import orjson
import pytest

from core import errors
from core.model.principal import Caller
from mcp_server.http import problems, routes, sse, streams
from tests.mcp_server.http import service as made

CALLER = Caller(made.OPERATOR)

pytestmark = pytest.mark.anyio
JSON = {"content-type": "application/json"}


@pytest.fixture
def service() -> made.Service:
    return made.Service()


async def test_query_parameters_take_the_types_of_the_schema(service: made.Service) -> None:
    query = 'limit=7&invokable_only=true&tags=a,b&tags=c&share=0.5&query=12&dispatch={"mode":"clone"}'
    async with made.client(service) as client:
        answer = await client.get(f"/api/things?{query}")
    assert answer.status_code == 200
    assert answer.json()["items"] == [
        {
            "query": "12",
            "limit": 7,
            "invokable_only": True,
            "tags": ["a", "b", "c"],
            "share": 0.5,
            "dispatch": {"mode": "clone"},
        }
    ]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=many", "/limit"),
        ("limit=101", "/limit"),
        ("invokable_only=yes", "/invokable_only"),
        ("limit=1&limit=2", "/limit"),
    ],
)
async def test_a_query_parameter_that_does_not_fit_is_pointed_at(
    service: made.Service, query: str, pointer: str
) -> None:
    async with made.client(service) as client:
        answer = await client.get(f"/api/things?{query}")
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


async def test_an_unknown_query_parameter_is_never_ignored(service: made.Service) -> None:
    async with made.client(service) as client:
        answer = await client.get("/api/things?limits=3")
    assert answer.status_code == 422
    assert "limits" in answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"slug": "a", "slug": "b"}',
        b'{"slug": NaN}',
        b"\xff\xfe",
        b'{"slug": 99999999999999999999}',
        b"[" * 100_000,
        b'{"slug": "\\ud800"}',
    ],
)
async def test_a_body_that_cannot_be_read_is_malformed(service: made.Service, body: bytes) -> None:
    async with made.client(service) as client:
        answer = await client.post("/api/things/publish", content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == problems.MEDIA_TYPE
    assert answer.json()["code"] == "invalid_params"
    assert service.calls == 0


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"null", b"17", b"{}", b'{"slug": 3}', b'{"slug": "a", "x": 1}'])
async def test_a_body_that_says_something_wrong_does_not_fit(service: made.Service, body: bytes) -> None:
    async with made.client(service) as client:
        answer = await client.post("/api/things/publish", content=body, headers=JSON)
    assert answer.status_code == 422
    assert answer.json()["errors"]


async def test_a_form_is_no_json(service: made.Service) -> None:
    async with made.client(service) as client:
        answer = await client.post("/api/things/publish", data={"slug": "x"})
    assert answer.status_code == 400


async def test_the_body_may_repeat_the_path_but_not_contradict_it(service: made.Service) -> None:
    async with made.client(service) as client:
        same = await client.post("/api/things/one/invoke", json={"slug": "one", "params": None})
        other = await client.post("/api/things/one/invoke", json={"slug": "two"})
    assert same.status_code == 200
    assert same.json()["params"] == {}
    assert (other.status_code, other.json()["errors"][0]["pointer"]) == (422, "/slug")


@pytest.mark.parametrize(
    ("state", "status"), [("accepted", 202), ("dispatched", 202), ("succeeded", 200), ("failed", 200)]
)
async def test_an_answer_that_is_not_terminal_is_accepted(service: made.Service, state: str, status: int) -> None:
    service.state = state
    async with made.client(service) as client:
        assert (await client.post("/api/things/one/invoke", json={})).status_code == status
        assert (await client.get("/api/things/one")).status_code == 200


async def test_a_fixed_path_wins_over_a_placeholder(service: made.Service) -> None:
    async with made.client(service) as client:
        answer = await client.post("/api/things/publish", json={"slug": "x"})
    assert (answer.status_code, answer.json()["revision"]) == (201, 1)


@pytest.mark.parametrize("code", sorted(problems.STATUS))
async def test_every_error_code_has_its_status_and_a_problem_document(service: made.Service, code: str) -> None:
    fault = errors.BY_CODE[code]("What is wrong.", hint="Do this.", errors=[errors.Problem("/a", "is bad", "f:1:2")])
    service.faults["x"] = fault
    async with made.client(service) as client:
        answer = await client.get("/api/things/x")
    assert answer.status_code == problems.STATUS[code]
    assert answer.headers["content-type"] == problems.MEDIA_TYPE
    document = answer.json()
    assert document["code"] == code
    assert document["status"] == answer.status_code
    assert (document["detail"], document["hint"]) == ("What is wrong.", "Do this.")
    assert document["errors"] == [{"pointer": "/a", "message": "is bad", "where": "f:1:2"}]
    assert ("retry-after" in answer.headers) == (answer.status_code in (429, 503))


async def test_the_table_of_statuses_covers_every_error(service: made.Service) -> None:
    assert set(problems.STATUS) == set(errors.BY_CODE)


async def test_a_rate_limit_says_when_to_come_back(service: made.Service) -> None:
    service.faults["x"] = errors.RateLimited(details={"retry_after_seconds": 17})
    async with made.client(service) as client:
        assert (await client.get("/api/things/x")).headers["retry-after"] == "17"


async def test_a_fault_of_ours_shows_no_traceback(service: made.Service) -> None:
    service.faults["x"] = RuntimeError("secret detail")
    async with made.client(service) as client:
        answer = await client.get("/api/things/x")
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


async def test_an_unknown_path_and_a_wrong_method_are_problems_too(service: made.Service) -> None:
    async with made.client(service) as client:
        missing = await client.get("/api/nothing")
        method = await client.delete("/api/things/one")
        slash = await client.get("/api/things/")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert (method.status_code, method.headers["allow"]) == (405, "GET")
    assert slash.status_code == 404


async def test_internal_operations_have_no_route(service: made.Service) -> None:
    async with made.client(service) as client:
        document = (await client.get("/api/openapi.json")).json()
    assert "token_verify" not in orjson.dumps(document).decode()


async def test_an_identity_with_several_tenants_has_to_name_one(service: made.Service) -> None:
    async with made.client(service, token="two") as client:
        vague = await client.post("/api/things/one/invoke", json={})
        header = await client.post("/api/things/one/invoke", json={}, headers={"x-sluice-tenant": "b"})
        body = await client.post("/api/things/one/invoke", json={"tenant_id": "a"})
        foreign = await client.post("/api/things/one/invoke", json={"tenant_id": "c"})
    assert (vague.status_code, vague.json()["errors"][0]["pointer"]) == (422, "/tenant_id")
    assert header.json()["tenant"] == "b"
    assert body.json()["tenant"] == "a"
    assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found")


async def test_the_description_names_every_parameter_once(service: made.Service) -> None:
    async with made.client(service) as client:
        document = (await client.get("/api/openapi.json")).json()
    invoke = document["paths"]["/api/things/{slug}/invoke"]["post"]
    assert [(p["name"], p["in"], p["required"]) for p in invoke["parameters"]] == [
        ("slug", "path", True),
        ("Idempotency-Key", "header", False),
    ]
    assert set(invoke["requestBody"]["content"]["application/json"]["schema"]["properties"]) == {"params", "tenant_id"}
    assert set(invoke["responses"]) == {"200", "202", "default"}
    refused = document["components"]["responses"]["Refused"]
    assert "429: Too many calls; see Retry-After." in refused["description"]
    answers = [one["responses"] for methods in document["paths"].values() for one in methods.values()]
    contents = [answer["content"] for told in answers for answer in told.values() if "content" in answer]
    assert all(content.get("application/json", {"schema": "another"}).get("schema") for content in contents)
    listing = document["paths"]["/api/things"]["get"]
    assert {p["name"] for p in listing["parameters"]} == set(made.Search.model_fields)
    assert "$defs" not in orjson.dumps(document).decode()
    assert document["components"]["schemas"]["Problem"]["required"]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


async def test_requests_are_counted_by_operation_and_status(service: made.Service) -> None:
    service.tokens["op"] = {**service.tokens["ada"], "tenants": ["*"]}
    async with made.client(service, token="op") as client:
        await client.get("/api/things/one")
        await client.get("/api/things?limit=x")
        text = (await client.get("/metrics")).text
        ada = await client.get("/metrics", headers={"authorization": "Bearer ada"})
    assert "sluice_http_requests_total" not in ada.text, "the calls of other tenants are none of hers"
    assert 'sluice_http_requests_total{operation="thing_get",status="200"} 1' in text
    assert 'sluice_http_requests_total{operation="thing_list",status="422"} 1' in text


async def test_the_job_stream_shows_the_tenant_the_states_of_its_own_jobs(service: made.Service) -> None:
    stream = streams.jobs(service, CALLER, {"job": "tick"}, sse.Reader())
    assert await anext(stream) == sse.CONNECTED

    def tell(tenant: str, job: str) -> None:
        for callback in service.callbacks:
            callback("job", {"tenant": tenant, "job": job, "state": "failed", "reason": tenant})

    with anyio.fail_after(5):
        tell("other", "tick")
        tell("default", "tock")
        tell("default", "tick")
        first = await anext(stream)
        await stream.aclose()
    assert first == b'event: job\ndata: {"job":"tick","state":"failed","reason":"default"}\n\n'
    assert service.callbacks == []


async def test_an_invocation_is_followed_from_its_present_state_to_its_end(service: made.Service) -> None:
    stream = streams.invocations(service, CALLER, {"invocation_id": "inv_1"}, sse.Reader())
    assert await anext(stream) == sse.CONNECTED

    def tell(tenant: str, id: str, state: str) -> None:
        for callback in service.callbacks:
            callback("invocation", {"tenant": tenant, "invocation_id": id, "state": state})

    with anyio.fail_after(5):
        tell("other", "inv_1", "succeeded")
        tell("default", "inv_2", "succeeded")
        tell("default", "inv_1", "succeeded")
        states = [part async for part in stream]
    assert [b'"state":"dispatched"' in states[0], b'"state":"succeeded"' in states[1]] == [True, True]
    assert len(states) == 2 and service.callbacks == []


async def test_the_invocation_stream_of_what_is_not_there_is_a_404(service: made.Service) -> None:
    service.faults["inv_9"] = errors.NotFound()
    async with made.client(service) as client:
        answer = await client.get("/api/trigger-invocations/subscribe?invocation_id=inv_9")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/api/messages/subscribe", "/api/jobs/subscription"])
async def test_a_stream_refuses_an_unknown_filter(service: made.Service, path: str) -> None:
    async with made.client(service) as client:
        answer = await client.get(f"{path}?tagg=x")
    assert (answer.status_code, "Filters: " in answer.text) == (422, True)


def test_a_read_is_done_whatever_its_state() -> None:
    reading, writing = made.REGISTRY["thing_get"], made.REGISTRY["thing_publish"]
    assert routes.status(reading, {"state": "applying"}) == 200
    assert routes.status(writing, {"state": "applying"}) == 202
    assert routes.status(writing, {}) == 201
