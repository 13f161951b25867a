"""How the infer action asks: one request to the server after the other, their cost, and what becomes of each event."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from core.dsl.actions.assert_ import compile_schema
from core.dsl.component import Env, Event, Run
from core.dsl.connections import calls, http, models, resource
from core.dsl.connections.answers import Answer
from core.dsl.connections.calls import Caller, CallFailed, Why
from core.dsl.connections.models import Usage
from core.dsl.connections.retry import attempt
from core.dsl.connections.spending import MILLION, Spending
from core.dsl.events import select
from core.dsl.events.codegen import Warn
from core.dsl.events.select import MISSING
from core.dsl.language import templates
from core.dsl.language.action import Settled
from core.guard import egress
from core.model.letter import Code

if TYPE_CHECKING:
    from core.dsl.actions.infer import Embedding, Infer, Llm


def text_of(config: Infer, env: Env, warn: Warn) -> Callable[[Event, Run], str]:
    """A function that gives what is asked about an event. It raises Unsendable for one without it."""
    if config.prompt.user is not None:
        return templates.template(config.prompt.user, env, warn)
    field = str(config.input_field)
    get = select.getter(select.parse(field))

    def text(event: Event, run: Run) -> str:
        value = get(event)
        if value is MISSING or value is None or value == "":
            raise http.Unsendable(f"the event has nothing in the field {field}", Code.NO_FIELD)
        return templates.text_of(value)

    return text


class _Asking:
    """What both kinds share: one request to the server, its cost, and what becomes of an event."""

    path: ClassVar[str]

    def __init__(self, config: Infer, env: Env, warn: Warn) -> None:
        self._config = config
        self._env = env
        self._caller = Caller(config, env, config.name)
        self._spending = Spending(config.prices, config.budget, env)
        self._text = text_of(config, env, warn)
        self._put = select.setter(select.parse(config.response_field))
        self._put_usage = None if config.usage_field is None else select.setter(select.parse(config.usage_field))
        keys = {"url": config.model.url, "timeout": config.timeout_ms / 1000}
        if config.model.api_key is not None:
            keys["auth"] = {"bearer": config.model.api_key}
        requests = http.Authenticated.model_validate(keys)
        self._client = http.Client(
            requests,
            env,
            config.name,
            auth=requests.auth,
            whole_answers=True,
            most_bytes=config.max_response_bytes,
            lanes=True,
        )
        base = config.model.url.rstrip("/")
        self._url = resource.address(f"{base}/{self.path}", env)

    async def ask(self, body: dict[str, Any], event: Event, run: Run) -> egress.Reply:
        """Send a request, again as `retry` says. Raises JobFailed with what went wrong."""
        url, content = self._url(event, run), orjson.dumps(body)
        headers = {"content-type": "application/json", "accept": "application/json"}

        async def once() -> egress.Reply:
            self._spending.check(run)
            await self._caller.begin()
            return await self._client.exchange(
                "POST", url, {}, run, content=content, headers=headers, judge=calls.check_answer
            )

        return await attempt(self._config.retry, self._env, self._config.name, once)

    def give(
        self, event: Event, value: Any, usage: Usage, cost: int, run: Run, acting: tuple[str, str]
    ) -> Event | None:
        """The event with its answer; None when there is no place for it."""
        try:
            self._put(event, value)
            if self._put_usage is not None:
                told = {"prompt_tokens": usage.prompt, "completion_tokens": usage.completion, "cost": cost / MILLION}
                self._put_usage(event, told)
        except ValueError as error:
            run.fail(self._env, f"infer: {error}; the event is refused", event, acting)
            return None
        return event

    async def close(self) -> None:
        await self._client.aclose()


class Chat(_Asking):
    """Chat completions, one for each event."""

    path = "chat/completions"

    def __init__(self, config: Infer, llm: Llm, env: Env, warn: Warn) -> None:
        super().__init__(config, env, warn)
        self._llm = llm
        prompt, schema = config.prompt, config.prompt.schema_
        self._system = None if prompt.system is None else templates.template(prompt.system, env, warn)
        schema = orjson.loads(schema) if isinstance(schema, str) else schema
        self._validator = None if schema is None else compile_schema(orjson.dumps(schema))
        self._format = models.json_format(schema) if config.response_format == "json" else None
        self._parameters = dict(llm.parameters)
        if llm.temperature is not None:
            self._parameters["temperature"] = llm.temperature
        if llm.max_tokens is not None:
            self._parameters["max_tokens"] = llm.max_tokens

    async def work(self, events: list[Event], run: Run, on_settled: Callable[[Settled], None]) -> list[Event | None]:
        await self._spending.begin(run.acting[0])
        ask = partial(self._call, run, run.acting)
        return await self._caller.of_events(events, 1, run, self._messages, ask)

    async def _call(
        self, run: Run, acting: tuple[str, str], asked: list[tuple[Event, list[models.Message]]]
    ) -> list[Event | None]:
        ((event, messages),) = asked
        spent: list[tuple[Usage, int]] = []
        model = ["llm-completion", self._config.model.url, self._llm.model]
        request = [*model, messages, self._format, self._parameters]
        value = await self._caller.answer(request, partial(self._answer, messages, event, run, acting, spent))
        usage = Usage(sum(one.prompt for one, _ in spent), sum(one.completion for one, _ in spent))
        return [self.give(event, value, usage, sum(cost for _, cost in spent), run, acting)]

    def _messages(self, event: Event, run: Run) -> list[models.Message]:
        try:
            messages = [] if self._system is None else [{"role": "system", "content": self._system(event, run)}]
            return [*messages, {"role": "user", "content": self._text(event, run)}]
        except templates.TextTooLong as error:
            raise http.Unsendable(str(error)) from error

    async def _answer(
        self,
        messages: list[models.Message],
        event: Event,
        run: Run,
        acting: tuple[str, str],
        spent: list[tuple[Usage, int]],
    ) -> Answer:
        """What the model answers, mended if that is needed. Raises JobFailed with what went wrong."""
        for left in range(self._config.repairs, -1, -1):
            body = models.completion_request(self._llm.model, messages, self._parameters, self._format)
            found = models.completion(await self.ask(body, event, run))
            cost = await self._spending.add(found.usage, run, acting[0])
            spent.append((found.usage or Usage(), cost))
            text = found.whole()
            if self._format is None:
                return Answer(text)
            try:
                value = models.parse_json(text)
                if self._validator is not None:
                    models.check_fits(value, self._validator)
                return Answer(value)
            except ValueError as fault:
                if not left:
                    raise CallFailed(Why.UNUSABLE, f"the answer cannot be used: {fault}") from fault
                messages = models.repair(messages, text, str(fault))
        raise AssertionError("the last try returns or raises")


class Embeddings(_Asking):
    """Vectors, of one or several events in a request."""

    path = "embeddings"

    def __init__(self, config: Infer, embedding: Embedding, env: Env, warn: Warn) -> None:
        super().__init__(config, env, warn)
        self._model = embedding

    async def work(self, events: list[Event], run: Run, on_settled: Callable[[Settled], None]) -> list[Event | None]:
        await self._spending.begin(run.acting[0])
        size = 1 if self._config.batch is None else self._config.batch.fixed_size
        ask = partial(self._call, run, run.acting)
        return await self._caller.of_events(events, size, run, self._text, ask)

    async def _call(self, run: Run, acting: tuple[str, str], asked: list[tuple[Event, str]]) -> list[Event | None]:
        spent: list[tuple[Usage, int]] = []
        model, texts = self._model, [text for _, text in asked]
        request = ["embedding", model.url, model.model, texts, model.dimensions, model.parameters]
        vectors = await self._caller.answer(request, partial(self._answer, texts, asked[0][0], run, acting, spent))
        usage, cost = spent[0] if spent else (Usage(), 0)
        characters = max(1, sum(map(len, texts)))
        out = []
        for (event, text), vector in zip(asked, vectors, strict=True):
            share = len(text) / characters
            own = Usage(round(usage.prompt * share), 0)
            out.append(self.give(event, vector, own, round(cost * share), run, acting))
        return out

    async def _answer(
        self, texts: list[str], event: Event, run: Run, acting: tuple[str, str], spent: list[tuple[Usage, int]]
    ) -> Answer:
        model = self._model
        body = models.embedding_request(model.model, texts, model.dimensions, model.parameters)
        found = models.embeddings(await self.ask(body, event, run))
        spent.append((found.usage or Usage(), await self._spending.add(found.usage, run, acting[0])))
        return Answer(found.of(len(texts)))
