"""What is said to an OpenAI-compatible server and what it answers: chat completions and embeddings. Pure.

Source: the OpenAI API reference (chat completions, embeddings), as llama.cpp, Ollama and vLLM serve it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

import orjson

from core.dsl.connections.calls import CallFailed, Why
from core.errors import shorten
from core.guard import egress

MOST_TOKENS = 1_000_000_000  # of one request
SHOWN_FAULTS = 5  # of an answer that does not fit its schema, told to the model
_FENCED = re.compile(r"\s*```[a-z]*\s*\n(.*?)\n?\s*```\s*", re.DOTALL)

Message = dict[str, str]


class Usage(NamedTuple):
    """Tokens of one request."""

    prompt: int = 0
    completion: int = 0


class Completion(NamedTuple):
    """What a model has written."""

    text: str
    usage: Usage | None  # None: the server does not tell
    end: str = "stop"  # why it ended
    fault: CallFailed | None = None  # why there is no text; what was asked has its cost all the same

    def whole(self) -> str:
        """The text. Raises CallFailed when there is none, or the model did not come to its end."""
        if self.fault is not None:
            raise self.fault
        if self.end == "length":
            raise CallFailed(Why.UNUSABLE, "the answer was cut at the most tokens that it may have (max-tokens)")
        if self.end == "content_filter":
            raise CallFailed(Why.UNUSABLE, "the server held the answer back (content_filter)")
        return self.text


def completion_request(
    model: str,
    messages: Sequence[Message],
    parameters: Mapping[str, Any],
    response_format: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The body of a chat completion."""
    body = {**parameters, "model": model, "messages": list(messages), "stream": False}
    return body if response_format is None else {**body, "response_format": response_format}


def json_format(schema: Any | None) -> dict[str, Any]:
    """What asks for JSON, that fits a JSON Schema if there is one."""
    if schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def completion(reply: egress.Reply) -> Completion:
    """What a server answered. Raises CallFailed when that is no JSON object, which tells no cost either."""
    answer = _object(reply)
    used = usage(answer)
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        end = choice.get("finish_reason") or "stop"
    except (KeyError, IndexError, TypeError, AttributeError):
        what = "the answer is no chat completion: it has no choices[0].message"
        return Completion("", used, fault=CallFailed(Why.UNUSABLE, what))
    text = message.get("content") if isinstance(message, dict) else None
    if not isinstance(text, str):
        refusal = message.get("refusal") if isinstance(message, dict) else None
        if isinstance(refusal, str) and refusal:
            fault = CallFailed(Why.UNUSABLE, "the model refused", said=shorten(refusal, 120))
        else:
            fault = CallFailed(Why.UNUSABLE, "the answer has no text")
        return Completion("", used, str(end), fault)
    return Completion(text, used, str(end))


def embedding_request(
    model: str, texts: Sequence[str], dimensions: int | None, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The body of a request for the vectors of some texts."""
    body = {**parameters, "model": model, "input": list(texts), "encoding_format": "float"}
    return body if dimensions is None else {**body, "dimensions": dimensions}


class Vectors(NamedTuple):
    """What a server has made of texts."""

    answer: dict[str, Any]
    usage: Usage | None  # None: the server does not tell

    def of(self, count: int) -> list[list[float]]:
        """Those of `count` texts in their order. Raises CallFailed when the answer is not that."""
        return _vectors(self.answer, count)


def embeddings(reply: egress.Reply) -> Vectors:
    """What a server answered. Raises CallFailed when that is no JSON object, which tells no cost either."""
    answer = _object(reply)
    return Vectors(answer, usage(answer))


def _vectors(answer: dict[str, Any], count: int) -> list[list[float]]:
    data = answer.get("data")
    if not isinstance(data, list) or len(data) != count:
        found = f"{len(data)} vectors" if isinstance(data, list) else "no vectors"
        raise CallFailed(Why.UNUSABLE, f"the answer has {found} for {count} texts")
    out: list[list[float]] = [[] for _ in range(count)]
    for at, one in enumerate(data):
        index = one.get("index", at) if isinstance(one, dict) else -1
        vector = one.get("embedding") if isinstance(one, dict) else None
        if not isinstance(index, int) or not 0 <= index < count or out[index] or not _numbers(vector):
            raise CallFailed(Why.UNUSABLE, "the answer is no list of vectors, one for each text")
        out[index] = vector
    return out


def _numbers(vector: Any) -> TypeGuard[list[float]]:
    return isinstance(vector, list) and len(vector) > 0 and all(type(one) in (float, int) for one in vector)


def usage(answer: Mapping[str, Any]) -> Usage | None:
    """The tokens that an answer tells; None when it tells none, or more than there can be."""
    found = answer.get("usage")
    if not isinstance(found, dict):
        return None
    prompt, completion = found.get("prompt_tokens"), found.get("completion_tokens") or 0
    if type(prompt) is not int or type(completion) is not int:
        return None
    if not (0 <= prompt <= MOST_TOKENS and 0 <= completion <= MOST_TOKENS):
        return None
    return Usage(prompt, completion)


def parse_json(text: str) -> Any:
    """The JSON that a model has written, also within a fence of Markdown. Raises ValueError that says what is wrong."""
    fenced = _FENCED.fullmatch(text)
    try:
        return orjson.loads(fenced[1] if fenced is not None else text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({shorten(error.msg, 80)})") from None


def check_fits(value: Any, validator: Any) -> None:
    """Raises ValueError with what of a value does not fit a JSON Schema."""
    faults = []
    for fault in validator.iter_errors(value):
        place = "".join(f"/{step}" for step in fault.instance_path) or "the answer"
        faults.append(f"{place}: {shorten(fault.message, 200)}")
        if len(faults) == SHOWN_FAULTS:
            break
    if faults:
        raise ValueError("it does not fit the schema (" + "; ".join(faults) + ")")


def repair(messages: Sequence[Message], text: str, fault: str) -> list[Message]:
    """The same conversation, in which the model hears what is wrong with its answer."""
    asked = f"This answer cannot be used: {fault}. Answer again with the corrected JSON and nothing else."
    return [*messages, {"role": "assistant", "content": text}, {"role": "user", "content": asked}]


def _object(reply: egress.Reply) -> dict[str, Any]:
    try:
        answer = orjson.loads(reply.body)
    except orjson.JSONDecodeError as error:
        raise CallFailed(Why.UNUSABLE, f"the answer is not JSON: {shorten(error.msg, 80)}") from error
    if not isinstance(answer, dict):
        raise CallFailed(Why.UNUSABLE, "the answer is no JSON object")
    return answer
