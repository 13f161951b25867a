"""A server with the HTTP API of OpenAI (chat completions, embeddings) for tests, as strict as that is.

What its model says is a function of the test; tokens are words. Requests that the API would refuse are refused with its
error object, and answers have all the fields that clients read.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.dsl import web

ROLES = {"system", "developer", "user", "assistant"}
Says = Callable[[list[dict[str, str]]], str]


class Refused(Exception):
    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        kind = "server_error" if status >= 500 else "invalid_request_error"
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def echo(messages: list[dict[str, str]]) -> str:
    return messages[-1]["content"].upper()


@dataclass
class ModelServer:
    """What the server is told to be, and what it was asked."""

    says: Says = echo
    key: str = ""
    tells_usage: bool = True
    finish: str = ""  # instead of the true reason
    choices: list[dict[str, Any]] | None = None  # instead of what its model says
    usage: dict[str, Any] | None = None  # instead of the true one
    faults: list[int] = field(default_factory=list)  # statuses of the next answers
    asked: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request, writer: asyncio.StreamWriter) -> None:
        method, path, _ = request.line.split()
        try:
            if self.faults and (status := self.faults.pop(0)):
                raise Refused(status, "try again later")
            if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
                raise Refused(401, "Incorrect API key provided", "invalid_api_key")
            if request.headers.get("content-type") != "application/json":
                raise Refused(400, "the body must be JSON")
            body = json.loads(request.body)
            routes = {"/v1/chat/completions": self._chat, "/v1/embeddings": self._embeddings}
            if method != "POST" or path not in routes:
                raise Refused(404, f"Unknown request URL: {method} {path}")
            if body.get("model") not in ("small", "vectors"):
                raise Refused(404, "The model does not exist", "model_not_found", "model")
            self.asked.append(body)
            answer, status = routes[path](body), 200
        except Refused as error:
            answer, status = error.body, error.status
        writer.write(web.answer(status, json.dumps(answer).encode(), content_type="application/json"))

    def _chat(self, body: dict[str, Any]) -> dict[str, Any]:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise Refused(400, "Invalid 'messages': empty array", param="messages")
        for one in messages:
            if one.get("role") not in ROLES or not isinstance(one.get("content"), str):
                raise Refused(400, "Invalid message", param="messages")
        wanted = body.get("response_format", {"type": "text"})
        if wanted.get("type") not in ("text", "json_object", "json_schema"):
            raise Refused(400, "Invalid response_format", param="response_format")
        if wanted["type"] == "json_schema" and not {"name", "schema"} <= wanted["json_schema"].keys():
            raise Refused(400, "Missing required parameter", param="response_format.json_schema")
        words, most = self.says(messages).split(" "), body.get("max_tokens")
        cut = most is not None and len(words) > most
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": " ".join(words[:most]), "refusal": None},
            "logprobs": None,
            "finish_reason": self.finish or ("length" if cut else "stop"),
        }
        prompt, written = sum(len(one["content"].split()) for one in messages), len(words[:most])
        answer = {
            "id": f"chatcmpl-{len(self.asked)}",
            "object": "chat.completion",
            "created": 1700000000,
            "model": body["model"],
            "choices": [choice] if self.choices is None else self.choices,
        }
        usage = {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}
        return {**answer, "usage": self.usage or usage} if self.tells_usage else answer

    def _embeddings(self, body: dict[str, Any]) -> dict[str, Any]:
        texts = [body["input"]] if isinstance(body.get("input"), str) else body.get("input")
        if not isinstance(texts, list) or not texts or not all(isinstance(one, str) and one for one in texts):
            raise Refused(400, "'$.input' is invalid", param="input")
        data = [
            {"object": "embedding", "index": at, "embedding": vector(text, body.get("dimensions", 4))}
            for at, text in enumerate(texts)
        ]
        tokens = sum(len(text.split()) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        data.reverse()  # clients go by the index
        return {"object": "list", "data": data, "model": body["model"], "usage": usage}


def vector(text: str, dimensions: int = 4) -> list[float]:
    return [byte / 255 for byte in hashlib.shake_128(text.encode()).digest(dimensions)]


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[ModelServer]:
    server = ModelServer(**options)
    async with web.serve(server.handle) as site:
        server.url = site.url("/v1")
        yield server
