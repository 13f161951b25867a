"""The infer action against a server with the API of OpenAI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.dsl.component import Limits, Run, Tally
from core.dsl.language import compile as compiler
from core.dsl.language.action import JobAborted
from core.errors import InvalidDocument, JobFailed
from tests import cases
from tests.dsl import model_server
from tests.dsl.model_server import ModelServer, serving
from tests.dsl.rig import Worker
from tests.dsl.test_calls import document, run
from tests.kv import stores

pytestmark = pytest.mark.anyio

URGENCY = {"type": "object", "properties": {"urgency": {"enum": ["low", "high"]}}, "required": ["urgency"]}


@pytest.fixture
def net(worker: Worker) -> Worker:
    worker.limits = Limits(egress_allow=("127.0.0.0/8",))
    return worker


def chat(server: ModelServer, *, llm: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    model = {"provider": "openai-compat", "url": server.url, "model": "small", **(llm or {})}
    keys = {"workload": "llm-completion", "llm": model, "input-field": "text", "retry": None, **more}
    return {"infer": keys}


def embed(server: ModelServer, **more: Any) -> dict[str, Any]:
    keys = {"workload": "embedding", "embedding": {"url": server.url, "model": "vectors"}, "input-field": "text"}
    return {"infer": {**keys, "retry": None, **more}}


async def test_a_model_is_asked_for_each_event_and_its_tokens_are_counted(net: Worker) -> None:
    tally = Tally()
    async with serving() as server:
        action = chat(
            server,
            llm={"temperature": 0, "max-tokens": 50, "parameters": {"seed": 1}},
            prompt={"system": "Shout about ${id}."},
            **{"usage-field": "used", "prices": {"prompt": 2, "completion": 10}, "response-field": "said"},
        )
        found = await run(net, [{"id": n, "text": f"word {n}"} for n in range(6)], action, tally=tally)
    assert [event["said"] for event in found] == [f"WORD {n}" for n in range(6)]
    assert found[0]["used"] == {"prompt_tokens": 5, "completion_tokens": 2, "cost": 30 / 1_000_000}
    assert (tally.calls, tally.prompt_tokens, tally.completion_tokens, tally.cost_millionths) == (6, 30, 12, 180)
    asked = min(server.asked, key=lambda one: one["messages"][1]["content"])
    assert asked["messages"] == [
        {"role": "system", "content": "Shout about 0."},
        {"role": "user", "content": "word 0"},
    ]
    assert (asked["temperature"], asked["max_tokens"], asked["seed"], asked["stream"]) == (0, 50, 1, False)


async def test_a_structured_answer_fits_its_schema(net: Worker) -> None:
    async with serving(says=lambda messages: '```json\n{"urgency": "high"}\n```') as server:
        action = chat(server, prompt={"schema": URGENCY}, **{"response-format": "json"})
        assert (await run(net, [{"text": "fire"}], action))[0]["response"] == {"urgency": "high"}
        assert server.asked[0]["response_format"] == {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": URGENCY},
        }
        action = chat(server, **{"response-format": "json"})
        assert (await run(net, [{"text": "fire"}], action))[0]["response"] == {"urgency": "high"}
        assert server.asked[1]["response_format"] == {"type": "json_object"}


async def test_an_answer_that_does_not_fit_is_given_back_a_bounded_number_of_times(net: Worker) -> None:
    tries = ["{", '{"urgency": "very"}', '{"urgency": "low"}']

    def slowly(messages: list[dict[str, str]]) -> str:
        return tries[sum(one["role"] == "assistant" for one in messages)]

    async with serving(says=slowly) as server:
        keys = {"prompt": {"schema": json.dumps(URGENCY)}, "response-format": "json"}
        (mended,) = await run(net, [{"text": "fire"}], chat(server, repairs=2, **keys))
        assert mended["response"] == {"urgency": "low"}
        told = server.asked[2]["messages"][-1]["content"]
        assert "/urgency" in told and "does not fit the schema" in told
        tally = Tally()
        (left,) = await run(net, [{"text": "fire"}], chat(server, repairs=1, **keys, **SOFT), tally=tally)
    assert left["error"]["code"] == "unusable" and "does not fit the schema" in left["error"]["message"]
    assert tally.calls == 2 and tally.prompt_tokens > 2, "what cannot be used has cost as well"


SOFT = {"on-error": "field"}


@pytest.mark.parametrize(
    ("options", "llm", "why"),
    [
        ({}, {"max-tokens": 1}, "cut at the most tokens"),
        ({"finish": "content_filter"}, {}, "held the answer back"),
        ({}, {"model": "unknown"}, "answered 404"),
    ],
)
async def test_an_answer_that_is_none_is_a_fault_of_its_event(
    net: Worker, options: dict[str, Any], llm: dict[str, Any], why: str
) -> None:
    async with serving(**options) as server:
        (found,) = await run(net, [{"text": "two words"}], chat(server, llm=llm, **SOFT))
        assert why in found["error"]["message"] and "response" not in found
        assert await run(net, [{"text": "two words"}], chat(server, llm=llm)) == []
    assert net.reports[-1].refused == 1


async def test_an_event_without_a_text_is_refused_and_asks_nobody(net: Worker) -> None:
    async with serving() as server:
        found = await run(net, [{"text": ""}, {}, {"text": {"a": 1}}], chat(server))
    assert [event["response"] for event in found] == ['{"A":1}']
    assert net.reports[-1].refused == 2


async def test_a_busy_server_is_asked_again_by_default_and_one_that_stays_away_is_an_outage(net: Worker) -> None:
    async with serving(faults=[429, 503]) as server:
        assert await run(net, [{"text": "a"}], chat(server, retry={"retries": 2})) == [{"text": "a", "response": "A"}]
    async with serving(faults=[503]) as server:
        with pytest.raises(JobFailed, match="answered 503"):
            await run(net, [{"text": "a"}], chat(server))
    async with serving(key="k") as server:
        with pytest.raises(JobFailed, match="answered 401"):
            await run(net, [{"text": "a"}], chat(server))
    assert net.printed == ['{"text":"a","response":"A"}']


async def test_the_same_question_is_asked_once(net: Worker) -> None:
    tally = Tally()
    async with serving() as server:
        keys = {"cache": {"ttl": "1h", "max-entries": 10}, "usage-field": "used"}
        found = await run(net, [{"text": "a"}, {"text": "b"}, {"text": "a"}], chat(server, **keys), tally=tally)
    assert [event["response"] for event in found] == ["A", "B", "A"]
    assert [event["used"]["prompt_tokens"] for event in found] == [1, 1, 0]
    assert (len(server.asked), tally.cache_hits, tally.prompt_tokens) == (2, 1, 2)


async def test_texts_become_vectors_several_in_a_request(net: Worker) -> None:
    events = [{"text": f"text {n}"} for n in range(7)] + [{"no": "text"}]
    async with serving() as server:
        found = await run(net, events, embed(server, batch={"fixed-size": 3}, **{"usage-field": "used"}))
        assert [event["response"] for event in found] == [model_server.vector(f"text {n}") for n in range(7)]
        assert sorted(len(body["input"]) for body in server.asked) == [1, 3, 3]
        assert found[0]["used"] == {"prompt_tokens": 2, "completion_tokens": 0, "cost": 0.0}
        assert net.reports[-1].refused == 1
        model = {"url": server.url, "model": "vectors", "dimensions": 9}
        (one,) = await run(net, [{"text": "x"}], embed(server, embedding=model, cache={}))
    assert len(one["response"]) == 9


# ---- budgets -------------------------------------------------------------------------------------------------------


KEPT = {"ttl": "1d", "namespace": "answers"}


async def test_a_run_that_has_used_up_its_budget_stops_the_job_and_nothing_is_paid_twice(
    net: Worker, tmp_path: Path
) -> None:
    async with stores.local(tmp_path) as kept, serving() as server:
        net.store = kept.store
        action = chat(server, concurrency=1, budget={"tokens": 5, "per": "run"}, cache=KEPT)
        for asked in (3, 6):  # two tokens each: the third is the last that begins below the budget
            with pytest.raises(JobAborted, match="budget of the run is used up: 6 of 5 tokens"):
                await run(net, [{"text": f"w{n}"} for n in range(9)], action)
            assert len(server.asked) == asked
        assert len(await run(net, [{"text": f"w{n}"} for n in range(9)], action)) == 9
    assert len(server.asked) == 9


async def test_a_call_that_is_under_way_when_the_budget_ends_is_paid_for_and_kept(net: Worker, tmp_path: Path) -> None:
    tally = Tally()
    async with stores.local(tmp_path) as kept, serving() as server:
        net.store = kept.store
        action = chat(server, concurrency=4, budget={"tokens": 2, "per": "run"}, cache=KEPT)
        with pytest.raises(JobAborted, match="used up"):
            await run(net, [{"text": f"w{n}"} for n in range(9)], action, tally=tally)
        entries = (await kept.namespace("default:answers").list()).entries
    assert len(entries) == len(server.asked) == tally.calls == tally.prompt_tokens


@pytest.mark.parametrize(
    ("choices", "why"),
    [
        ([{"message": {"content": None, "refusal": "no"}, "finish_reason": "stop"}], "the model refused"),
        ([{"message": {"content": None, "tool_calls": []}, "finish_reason": "tool_calls"}], "has no text"),
        ([], "no chat completion"),
    ],
)
async def test_what_an_answer_costs_that_cannot_be_used_is_counted(
    net: Worker, tmp_path: Path, choices: list[dict[str, Any]], why: str
) -> None:
    tally = Tally()
    async with stores.local(tmp_path) as kept, serving(choices=choices) as server:
        net.store = kept.store
        action = chat(server, concurrency=1, budget={"tokens": 5, "per": "run"}, cache=KEPT)
        with pytest.raises(JobAborted, match="used up: 6 of 5"):
            await run(net, [{"text": "a"} for _ in range(9)], action, tally=tally)
    assert (len(server.asked), tally.prompt_tokens, tally.completion_tokens) == (3, 3, 3)
    assert any(why in text for _, text, _ in net.log_lines)


async def test_more_tokens_than_there_can_be_are_not_believed(net: Worker) -> None:
    tally = Tally()
    async with serving(usage={"prompt_tokens": 9 * 10**18, "completion_tokens": 0}) as server:
        assert len(await run(net, [{"text": "a"}], chat(server), tally=tally)) == 1
    assert tally.prompt_tokens == 0
    assert any("none are counted" in line for line in net.warnings)


async def test_a_budget_of_a_day_is_shared_by_replicas_and_outlives_restarts(net: Worker, tmp_path: Path) -> None:
    prices = {"prices": {"prompt": 1_000_000, "completion": 0}}
    async with stores.local(tmp_path) as kept, serving() as server:
        net.store = kept.store
        action = chat(server, concurrency=1, budget={"cost": 4}, cache=KEPT, **prices, **SOFT)
        assert len(await run(net, [{"text": "a"}, {"text": "b"}], action)) == 2
        with pytest.raises(JobFailed, match=r"budget of \d{4}-\d\d-\d\d is used up: 4.000000 of 4 in money"):
            await run(net, [{"text": text} for text in "cdef"], action, replica=1)
        entries = (await kept.namespace("default:infer-budget").list()).entries
    assert [json.loads(entry.value) for entry in entries] == [{"tokens": 4, "cost_millionths": 2_000_000}] * 2
    assert len(server.asked) == 4


async def test_a_budget_cannot_be_kept_with_a_server_that_tells_no_tokens(net: Worker, tmp_path: Path) -> None:
    async with stores.local(tmp_path) as kept, serving(tells_usage=False) as server:
        net.store = kept.store
        action = chat(server, budget={"tokens": 100, "per": "run"}, cache=KEPT, **SOFT)
        with pytest.raises(JobFailed, match="does not tell how many tokens"):
            await run(net, [{"text": "a"}], action)
        assert len(await run(net, [{"text": "a"}, {"text": "b"}], chat(server))) == 2
    assert sum("none are counted" in line for line in net.warnings) == 1


async def test_a_budget_that_cannot_be_read_lets_nothing_be_spent(net: Worker) -> None:
    async with serving() as server:
        with pytest.raises(JobFailed, match="there is no KV store here"):
            await run(net, [{"text": "a"}], chat(server, budget={"tokens": 100}, cache=KEPT))
    assert server.asked == []


# ---- documents -----------------------------------------------------------------------------------------------------

LLM = {"url": "https://m.example.com/v1", "model": "small"}


@cases.table(
    ("config", "why"),
    [
        ({"workload": "anomaly-detect"}, "anomaly-detect is left out"),
        ({"workload": "llm-completion", "input-field": "t"}, "has the key llm"),
        ({"workload": "embedding", "llm": LLM, "input-field": "t"}, "has the key embedding"),
        ({"workload": "llm-completion", "llm": LLM}, "infer needs input-field"),
        ({"workload": "llm-completion", "llm": {**LLM, "api-key": "sk-123"}, "input-field": "t"}, "${secret|NAME}"),
        ({"workload": "llm-completion", "llm": {**LLM, "url": "${where}"}, "input-field": "t"}, "choose the host"),
        ({"workload": "llm-completion", "llm": {**LLM, "parameters": {"n": 2}}, "input-field": "t"}, "n is set by"),
        ({"workload": "llm-completion", "llm": LLM, "prompt": {"user": "${secret|s}"}}, "cannot hold the secret"),
        (
            {"workload": "llm-completion", "llm": LLM, "input-field": "t", "prompt": {"schema": "{"}},
            "not a JSON Schema",
        ),
        ({"workload": "llm-completion", "llm": LLM, "input-field": "t", "prompt": {"schema": {}}}, "json"),
        ({"workload": "llm-completion", "llm": LLM, "input-field": "t", "budget": {"cost": 1}}, "needs prices"),
        ({"workload": "llm-completion", "llm": LLM, "input-field": "t", "budget": {}}, "tokens, cost, or both"),
        ({"workload": "llm-completion", "llm": LLM, "input-field": "t", "budget": {"tokens": 1}}, "needs a cache"),
        ({"workload": "llm-completion", "llm": LLM, "input-field": "t", "on-error": "dlq:x"}, "on-error with send"),
        ({"workload": "embedding", "embedding": LLM, "input-field": "t", "batch": {}, "cache": {}}, "one of batch"),
    ],
    ids=str,
)
def test_what_cannot_be_right_is_refused_before_it_runs(config: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        compiler.check_job(document([{}], {"infer": config}))
    assert why in str(refused.value)


def test_a_plan_hears_of_the_address_of_the_model() -> None:
    config = {"workload": "llm-completion", "llm": LLM, "input-field": "t"}
    (need,) = compiler.needs_of(compiler.check_job(document([{}], {"infer": config})))
    assert (need.pointer, need.what, need.address) == ("/actions/0/infer/llm/url", "egress", LLM["url"])


def test_the_dry_form_asks_nobody_and_says_so(worker: Worker) -> None:
    config = {"workload": "llm-completion", "llm": LLM, "input-field": "t"}
    job = compiler.compile_job(document([{}], {"infer": config}), worker.env())
    assert job.steps[0].process([{"t": "four"}], Run()) == [{"t": "four"}]
    ((_, text, fields),) = worker.log_lines
    assert (
        "would ask small at https://m.example.com/v1/chat/completions about 4 characters; a trace makes no call" in text
    )
    assert fields["model"] == "small"
