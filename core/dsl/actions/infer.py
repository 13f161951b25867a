"""The infer action: a language model or an embedding model is asked for each event."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self

import orjson
from pydantic import AfterValidator, Field, field_validator, model_validator

from core.dsl.actions.assert_ import MAX_SCHEMA_BYTES, compile_schema
from core.dsl.component import REGISTRY, Config, Env, Event, Run
from core.dsl.connections import calls, http, models, resource
from core.dsl.connections.answers import Answer
from core.dsl.connections.calls import Caller, CallFailed, Calling, Why
from core.dsl.connections.models import Usage
from core.dsl.connections.retry import Retry, attempt
from core.dsl.connections.spending import MILLION, Budget, Prices, Spending
from core.dsl.events import select
from core.dsl.events.codegen import Warn
from core.dsl.events.select import MISSING, Selector
from core.dsl.language import templates
from core.dsl.language.action import Each, EventFault, Settled, Waiter, WaitingAction
from core.errors import JobFailed, shorten
from core.guard import egress
from core.model.letter import Code

_OURS = frozenset(("model", "messages", "input", "stream", "response_format", "encoding_format", "n"))


def _secret(text: str) -> str:
    """Raises ValueError for a key that stands in the document itself."""
    found = templates.lookup_of(text)
    if found is None or found.source not in templates.SECRET_SOURCES:
        raise ValueError("the key is given as ${secret|NAME} and in no other way (sluice secret set NAME)")
    return text


class Model(Config):
    """Which model, and where."""

    provider: Literal["openai-compat"] = "openai-compat"
    """How to speak to it: the HTTP API of OpenAI, which llama.cpp, Ollama, vLLM and most services have as well."""
    url: resource.FixedHost
    """The address up to the version, as `https://api.openai.com/v1`; no event fills in its host."""
    model: str = Field(min_length=1, max_length=200)
    """The name of the model."""
    api_key: Annotated[templates.Text, AfterValidator(_secret)] | None = None
    """The key, as `${secret|NAME}`; sent in the header Authorization."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Further keys of the request as they are, as {seed: 1, top_p: 0.9}."""

    @field_validator("url")
    @classmethod
    def _beginning(cls, value: str) -> str:
        if "?" in value or "#" in value:
            raise ValueError(
                "the url ends with a path, behind which the action writes /chat/completions or /embeddings"
            )
        return value

    @field_validator("parameters")
    @classmethod
    def _not_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(_OURS & value.keys()):
            raise ValueError(f"{taken[0]} is set by the action itself")
        return resource.refuse_secrets(value, "parameters")  # type: ignore[no-any-return]


class Llm(Model):
    """A language model."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    """How free its answers are; 0: the likeliest one."""
    max_tokens: int | None = Field(default=None, ge=1)
    """The most tokens of an answer; one that is cut there is a fault."""


class Embedding(Model):
    """An embedding model."""

    dimensions: int | None = Field(default=None, ge=1, le=65_536)
    """The length of the vectors, for models that let it be chosen."""


class Prompt(Config):
    """What the model is told."""

    system: templates.Text | None = None
    """What it is to do, for all events."""
    user: templates.Text | None = None
    """What it is asked, with `${field}`. Left out: the content of `input-field`."""
    schema_: dict[str, Any] | str | None = None
    """The JSON Schema (draft 7) that the answer must fit, as an object or as JSON text."""

    @field_validator("system", "user")
    @classmethod
    def _no_secret(cls, value: str | None) -> str | None:
        return resource.refuse_secrets(value, "a prompt")  # type: ignore[no-any-return]

    @field_validator("schema_")
    @classmethod
    def _is_schema(cls, value: Any) -> Any:
        if value is None or (isinstance(value, str) and "{{" in value):
            return value
        text = value if isinstance(value, str) else orjson.dumps(value)
        if len(text) > MAX_SCHEMA_BYTES:
            raise ValueError(f"a schema has at most {MAX_SCHEMA_BYTES} bytes")
        compile_schema(text)
        return value


class Texts(Config):
    """Several texts in one request."""

    fixed_size: int = Field(default=32, ge=1, le=1000)
    """The most texts of one request. What is at hand goes out at once; nothing waits for more."""


@REGISTRY.register("infer")
class Infer(Calling, WaitingAction):
    """Ask a language model (`llm-completion`) or an embedding model (`embedding`) for each event, and put the answer
    into a field.

    The server speaks the API of OpenAI; its address is under the same rules as those of `http`, and so are order, calls
    in flight, retries, cache and `on-error`. With `response-format: json` the answer is JSON, and with `prompt.schema`
    such as fits; an answer that is not is given back to the model, `repairs` times, then it is a fault of that event.
    So is one that was cut at `max-tokens` or held back. Tokens and what they cost by `prices` are counted with the
    figures of the job (`job_metrics`, /metrics), also those of answers that cannot be used. With a `budget` no call is
    made when it is used up, and the job says so; calls that are in flight then may go beyond it. A trace asks nobody.
    """

    example: ClassVar[str] = """
name: triage
input: {echo: {event: '{"id": 7, "text": "The disk of db1 is full."}', json: true}}
actions:
  - infer:
      workload: llm-completion
      llm: {provider: openai-compat, url: "https://models.example.com/v1", model: small, temperature: 0}
      prompt:
        system: Say how urgent the report of a user is.
        schema: {type: object, properties: {urgency: {enum: [low, high]}}, required: [urgency]}
      input-field: text
      response-field: triage
      response-format: json
      timeout-ms: 60000
      cache: {ttl: 1d, max-entries: 10000}
      prices: {prompt: 0.15, completion: 0.6}
      budget: {cost: 5, per: day}
output: {print: STDOUT}
"""

    workload: Literal["llm-completion", "embedding"]
    """What is asked for."""
    llm: Llm | None = None
    """The language model, of llm-completion."""
    embedding: Embedding | None = None
    """The embedding model, of embedding."""
    prompt: Prompt = Prompt()
    """What a language model is told."""
    input_field: Selector | None = None
    """The field with the text; what is no text is given as JSON. An event without it is refused. May be left out with
    `prompt.user`."""
    response_field: Selector = "response"
    """Put the answer here: text, JSON, or a vector (an array of numbers)."""
    response_format: Literal["text", "json"] = "text"
    """What a language model answers with."""
    repairs: int = Field(default=1, ge=0, le=5)
    """How often a model may mend JSON that cannot be read or does not fit the schema."""
    usage_field: Selector | None = None
    """Put {prompt_tokens, completion_tokens, cost} of the event here; of an answer from the cache all are 0."""
    batch: Texts | None = None
    """Of embedding: put several texts into one request."""
    timeout_ms: int = Field(default=60_000, ge=1, le=int(calls.LONGEST_SECONDS * 1000))
    """Give up a request after so many milliseconds."""
    retry: Retry | None = Retry()
    """Try again on connection faults and on the statuses 408, 429 and 5xx, not before the time that the other side
    asks for. Left out: with the defaults of these keys; null: never."""
    max_response_bytes: int = Field(default=1024 * 1024, ge=1024, le=egress.MOST_RESPONSE_BYTES)
    """The longest answer of the server; a longer one is a fault."""
    prices: Prices = Prices()
    """What a million tokens cost."""
    budget: Budget | None = None
    """How much may be used up."""

    @field_validator("workload", mode="before")
    @classmethod
    def _no_anomalies(cls, value: object) -> object:
        if value == "anomaly-detect":
            raise ValueError(
                "anomaly-detect is left out: what it compares with, and how, is written down nowhere; compute a score"
                " with script, or ask a service of yours with the action http"
            )
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        chat = self.workload == "llm-completion"
        if (self.llm is None) is chat or (self.embedding is None) is not chat:
            raise ValueError(f"{self.workload} has the key {'llm' if chat else 'embedding'}, and not the other one")
        if not chat and (self.prompt != Prompt() or self.response_format != "text"):
            raise ValueError("prompt and response-format are for llm-completion")
        if chat and self.batch is not None:
            raise ValueError("batch is for embedding; a language model is asked for one event at a time")
        if self.input_field is None and (not chat or self.prompt.user is None):
            raise ValueError("the key input-field is missing")
        if self.input_field is not None and self.prompt.user is not None:
            raise ValueError("there can be one of input-field and prompt.user")
        if self.prompt.schema_ is not None and self.response_format != "json":
            raise ValueError("a schema is for response-format: json")
        if self.batch is not None and self.cache is not None:
            raise ValueError("with a cache each text is a request of its own; leave one of batch and cache out")
        if self.budget is not None and self.budget.cost is not None and self.prices == Prices():
            raise ValueError("a budget of cost needs prices")
        if self.concurrency * self.max_response_bytes > calls.HELD_BYTES:
            raise ValueError(f"concurrency times max-response-bytes is at most {calls.HELD_BYTES} bytes")
        return self

    @property
    def model(self) -> Model:
        """The model that is asked."""
        found = self.llm or self.embedding
        assert found is not None
        return found

    @property
    def most_at_once(self) -> int:
        size = 1 if self.batch is None else self.batch.fixed_size
        return calls.most_at_once(self.concurrency, size, self.max_response_bytes)

    def open(self, env: Env, warn: Warn) -> Waiter:
        if self.embedding is not None:
            return _Embedding(self, self.embedding, env, warn)
        assert self.llm is not None
        return _Chat(self, self.llm, env, warn)

    def each(self, env: Env, warn: Warn) -> Each:
        """The dry form: tells who would be asked."""
        url, model = resource.address(self.model.url, env), self.model.model
        text_of, field = _text(self, env, warn), self.response_field

        def tell(event: Event, run: Run) -> Event:
            try:
                size, where = len(text_of(event, run)), url(event, run)
            except http.Unsendable as error:
                raise EventFault(error.message) from error
            told = (
                f"would ask {model} at {shorten(where, 200)} about {size} characters; a trace makes no call, so {field}"
            )
            env.log("info", f"{told} is not set", url=where, model=model)
            return event

        return tell


def _text(config: Infer, env: Env, warn: Warn) -> Callable[[Event, Run], str]:
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
        self._text = _text(config, env, warn)
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


class _Chat(_Asking):
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
        return await self._caller.in_order(events, partial(self._call, run, run.acting))

    async def _call(self, run: Run, acting: tuple[str, str], event: Event) -> Event | None:
        spent: list[tuple[Usage, int]] = []
        try:
            messages = self._messages(event, run)
            request = [
                "llm-completion",
                self._config.model.url,
                self._llm.model,
                messages,
                self._format,
                self._parameters,
            ]
            ask = partial(self._answer, messages, event, run, acting, spent)
            value = await self._caller.answer(request, ask)
        except JobFailed as fault:
            return self._caller.failed(fault, event, run, acting)
        usage = Usage(sum(one.prompt for one, _ in spent), sum(one.completion for one, _ in spent))
        return self.give(event, value, usage, sum(cost for _, cost in spent), run, acting)

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


class _Embedding(_Asking):
    """Vectors, of one or several events in a request."""

    path = "embeddings"

    def __init__(self, config: Infer, embedding: Embedding, env: Env, warn: Warn) -> None:
        super().__init__(config, env, warn)
        self._model = embedding

    async def work(self, events: list[Event], run: Run, on_settled: Callable[[Settled], None]) -> list[Event | None]:
        await self._spending.begin(run.acting[0])
        size = 1 if self._config.batch is None else self._config.batch.fixed_size
        groups = [list(range(at, min(at + size, len(events)))) for at in range(0, len(events), size)]
        out: list[Event | None] = [None] * len(events)  # what is refused stays None
        await self._caller.in_order(groups, partial(self._call, events, out, run, run.acting))
        return out

    async def _call(
        self, events: list[Event], out: list[Event | None], run: Run, acting: tuple[str, str], places: list[int]
    ) -> None:
        texts: list[tuple[int, str]] = []
        for place in places:
            try:
                texts.append((place, self._text(events[place], run)))
            except http.Unsendable as fault:
                out[place] = self._caller.failed(fault, events[place], run, acting)
        if not texts:
            return
        spent: list[tuple[Usage, int]] = []
        sent = [text for _, text in texts]
        try:
            model = self._model
            request = ["embedding", model.url, model.model, sent, model.dimensions, model.parameters]
            ask = partial(self._answer, sent, events[texts[0][0]], run, acting, spent)
            vectors = await self._caller.answer(request, ask)
        except JobFailed as fault:
            if len(texts) > 1 and isinstance(fault, CallFailed) and fault.why is Why.REFUSED:
                for place, _ in texts:  # which of them is it
                    await self._call(events, out, run, acting, [place])
                return
            for place, _ in texts:
                out[place] = self._caller.failed(fault, events[place], run, acting)
            return
        usage, cost = spent[0] if spent else (Usage(), 0)
        for (place, text), vector in zip(texts, vectors, strict=True):
            share = len(text) / max(1, sum(map(len, sent)))
            own = Usage(round(usage.prompt * share), 0)
            out[place] = self.give(events[place], vector, own, round(cost * share), run, acting)

    async def _answer(
        self, texts: list[str], event: Event, run: Run, acting: tuple[str, str], spent: list[tuple[Usage, int]]
    ) -> Answer:
        model = self._model
        body = models.embedding_request(model.model, texts, model.dimensions, model.parameters)
        vectors, usage = models.embeddings(await self.ask(body, event, run), len(texts))
        spent.append((usage or Usage(), await self._spending.add(usage, run, acting[0])))
        return Answer(vectors)
