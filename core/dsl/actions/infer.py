"""The infer action: a language model or an embedding model is asked for each event."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

import orjson
from pydantic import AfterValidator, Field, field_validator, model_validator

from core.dsl.actions import asking
from core.dsl.actions.assert_ import MAX_SCHEMA_BYTES, compile_schema
from core.dsl.component import REGISTRY, Config, Env, Event, Run
from core.dsl.connections import calls, http, resource
from core.dsl.connections.calls import Calling
from core.dsl.connections.retry import Retry
from core.dsl.connections.spending import Budget, Prices
from core.dsl.events.codegen import Warn
from core.dsl.events.select import Selector
from core.dsl.language import templates
from core.dsl.language.action import Each, EventFault, Waiter, WaitingAction
from core.errors import shorten
from core.guard import egress

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
        return resource.refuse_secrets(value, "parameters")


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
        return resource.refuse_secrets(value, "a prompt")

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
      cache: {ttl: 1d, namespace: triage-answers}
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
            raise ValueError("infer needs input-field, or prompt.user of a language model: what to send")
        if self.input_field is not None and self.prompt.user is not None:
            raise ValueError("there can be one of input-field and prompt.user")
        if self.prompt.schema_ is not None and self.response_format != "json":
            raise ValueError("a schema is for response-format: json")
        if self.batch is not None and self.cache is not None:
            raise ValueError("with a cache each text is a request of its own; leave one of batch and cache out")
        if self.budget is not None and self.budget.cost is not None and self.prices == Prices():
            raise ValueError("a budget of cost needs prices")
        if self.budget is not None and (self.cache is None or self.cache.namespace is None):
            raise ValueError(
                "a budget needs a cache with a namespace, as cache: {ttl: 1d, namespace: answers}: where it is used up"
                " the events of that batch come again, and what was paid for is not paid again"
            )
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
            return asking.Embeddings(self, self.embedding, env, warn)
        assert self.llm is not None
        return asking.Chat(self, self.llm, env, warn)

    def each(self, env: Env, warn: Warn) -> Each:
        """The dry form: tells who would be asked."""
        path = (asking.Chat if self.llm is not None else asking.Embeddings).path
        url, model = resource.address(f"{self.model.url.rstrip('/')}/{path}", env), self.model.model
        text_of, field = asking.text_of(self, env, warn), self.response_field

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
