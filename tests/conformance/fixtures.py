"""What the official conformance suite calls by fixed names, mounted beside the tools of a real Sluice server.

The suite drives test_simple_text, test://static-text and the like; none of it is part of the product.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import mcp_types as types
from mcp import MCPError
from mcp.server.context import HandlerResult

from mcp_server.protocol import Context, McpServer
from tests import waiting
from tests.conformance import running

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Wire = dict[str, Any]
Fixture = Callable[[Context, types.CallToolRequestParams], Awaitable[Wire]]
TOOLS: dict[str, tuple[Wire, Fixture]] = {}


def tool(name: str, schema: Wire | None = None) -> Callable[[Fixture], Fixture]:
    """Declare a fixture tool."""

    def declare(fixture: Fixture) -> Fixture:
        TOOLS[name] = (
            {
                "name": name,
                "description": f"A fixture of the conformance suite: {name}.",
                "inputSchema": schema or {"type": "object", "properties": {}},
            },
            fixture,
        )
        return fixture

    return declare


def text(words: str) -> Wire:
    return {"type": "text", "text": words}


def done(*content: Wire, **more: Any) -> Wire:
    return {"resultType": "complete", "content": list(content), **more}


def embedded(uri: str, mime: str, words: str) -> Wire:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime, "text": words}}


def always(name: str, *content: Wire, **more: Any) -> None:
    """A tool that always returns the same."""

    @tool(name)
    async def same(ctx: Context, params: types.CallToolRequestParams) -> Wire:
        return done(*content, **more)


IMAGE = {"type": "image", "data": PNG, "mimeType": "image/png"}
always("test_simple_text", text("This is a simple text response for testing."))
always("test_image_content", IMAGE)
always("test_audio_content", {"type": "audio", "data": WAV, "mimeType": "audio/wav"})
always(
    "test_embedded_resource",
    embedded("test://embedded-resource", "text/plain", "This is an embedded resource content."),
)
always(
    "test_multiple_content_types",
    text("Multiple content types test:"),
    IMAGE,
    embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
)
always("test_error_handling", text("This tool intentionally returns an error for testing"), isError=True)
always("test_streaming_elicitation", text("nothing to ask"))
always("test_logging_tool", text("nothing to log"))


@tool("test_tool_with_progress")
async def progress(ctx: Context, params: types.CallToolRequestParams) -> Wire:
    for step in (0, 50, 100):
        await ctx.session.report_progress(step, 100)
        await waiting.pause(0.05)  # work that takes a while
    return done(text("done"))


@tool("test_missing_capability")
async def missing_capability(ctx: Context, params: types.CallToolRequestParams) -> Wire:
    capabilities = ctx.session.client_capabilities
    if capabilities is None or capabilities.sampling is None:
        raise MCPError(-32021, "sampling is required", {"requiredCapabilities": {"sampling": {}}})
    return done(text("sampling is there"))


@tool(
    "json_schema_2020_12_tool",
    {
        "$schema": DIALECT,
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    },
)
@tool("test_x_mcp_header", {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}})
async def echo(ctx: Context, params: types.CallToolRequestParams) -> Wire:
    return done(text(str(params.arguments)))


@tool("test_reconnection")
async def reconnection(ctx: Context, params: types.CallToolRequestParams) -> Wire:
    if ctx.close_sse_stream is not None:
        await ctx.close_sse_stream()
    await waiting.pause(0.1)  # the stream is closed meanwhile
    return done(text("Reconnection test completed"))


def elicitation(message: str, **properties: Wire) -> Wire:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}


def sampling(question: str) -> Wire:
    messages = [{"role": "user", "content": text(question)}]
    return {"method": "sampling/createMessage", "params": {"messages": messages, "maxTokens": 100}}


def eliciting(name: str, /, **properties: Wire) -> None:
    """A tool that asks the user of an earlier protocol, with the request that confirmations are asked with."""

    @tool(name)
    async def answered(ctx: Context, params: types.CallToolRequestParams) -> Wire:
        message = str((params.arguments or {}).get("message", "Please answer."))
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        said = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
        return done(text(f"Elicitation completed: action={said.action}, content={said.content}"))


def titled(*values: str) -> list[Wire]:
    return [{"const": value, "title": value.title()} for value in values]


OPTIONS = ["option1", "option2", "option3"]
eliciting("test_elicitation", username={"type": "string"}, email={"type": "string"})
eliciting(
    "test_elicitation_sep1034_defaults",
    name={"type": "string", "default": "John Doe"},
    age={"type": "integer", "default": 30},
    score={"type": "number", "default": 95.5},
    status={"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    verified={"type": "boolean", "default": True},
)
eliciting(
    "test_elicitation_sep1330_enums",
    untitledSingle={"type": "string", "enum": OPTIONS},
    titledSingle={"type": "string", "oneOf": titled("value1", "value2", "value3")},
    legacyEnum={"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["One", "Two", "Three"]},
    untitledMulti={"type": "array", "items": {"type": "string", "enum": OPTIONS}},
    titledMulti={"type": "array", "items": {"anyOf": titled("value1", "value2", "value3")}},
)


ROOTS: Wire = {"method": "roots/list", "params": {}}
STRING, BOOLEAN = {"type": "string"}, {"type": "boolean"}
NAME = elicitation("What is your name?", name=STRING)


def ask(state: str | None, **requests: Wire) -> Wire:
    asked: Wire = {"resultType": "input_required", "inputRequests": requests}
    return asked if state is None else {**asked, "requestState": state}


def asking(name: str, requests: dict[str, Wire], state: str | None = None) -> None:
    """A tool that asks until every request has an answer."""

    @tool(name)
    async def until_answered(ctx: Context, params: types.CallToolRequestParams) -> Wire:
        given = params.input_responses or {}
        if given.keys() >= requests.keys() and (state is None or params.request_state == state):
            return done(text("state-ok" if state else f"thanks: {sorted(requests)}"))
        return ask(state, **requests)


asking("test_input_required_result_elicitation", {"user_name": NAME})
asking("test_input_required_result_sampling", {"capital_question": sampling("What is the capital of France?")})
asking("test_input_required_result_list_roots", {"client_roots": ROOTS})
CONFIRM = {"confirm": elicitation("Please confirm", ok=BOOLEAN)}
asking("test_input_required_result_request_state", CONFIRM, "waiting")
asking("test_input_required_result_tampered_state", CONFIRM, "waiting")
asking(
    "test_input_required_result_multiple_inputs",
    {"user_name": NAME, "greeting": sampling("Generate a greeting"), "client_roots": ROOTS},
    "waiting",
)


@tool("test_input_required_result_multi_round")
async def multi_round(ctx: Context, params: types.CallToolRequestParams) -> Wire:
    match params.request_state:
        case None:
            return ask("round-1", step1=elicitation("Step 1: What is your name?", name=STRING))
        case "round-1":
            return ask("round-2", step2=elicitation("Step 2: What is your favorite color?", color=STRING))
        case _:
            return done(text("all rounds done"))


@tool("test_input_required_result_capabilities")
async def capabilities(ctx: Context, params: types.CallToolRequestParams) -> Wire:
    declared = ctx.session.client_capabilities
    requests = {}
    if declared is not None and declared.sampling is not None:
        requests["greeting"] = sampling("Generate a greeting")
    if declared is not None and declared.elicitation is not None:
        requests["user_name"] = NAME
    return ask(None, **requests)


PROMPTS: dict[str, list[str]] = {
    "test_input_required_result_prompt": [],
    "test_prompt_with_arguments": ["arg1", "arg2"],
    "test_prompt_with_embedded_resource": ["resourceUri"],
    "test_prompt_with_image": [],
    "test_simple_prompt": [],
}


def user(*content: Wire) -> list[Wire]:
    return [{"role": "user", "content": part} for part in content]


def prompt(params: types.GetPromptRequestParams) -> Wire:
    given = params.arguments or {}
    match params.name:
        case "test_simple_prompt":
            messages = user(text("This is a simple prompt for testing."))
        case "test_prompt_with_arguments":
            messages = user(text(f"Prompt with arguments: arg1='{given.get('arg1')}', arg2='{given.get('arg2')}'"))
        case "test_prompt_with_embedded_resource":
            resource = embedded(given["resourceUri"], "text/plain", "Embedded resource content for testing.")
            messages = user(resource, text("Please process the embedded resource above."))
        case "test_prompt_with_image":
            messages = user(IMAGE, text("Please analyze the image above."))
        case "test_input_required_result_prompt":
            if not params.input_responses:
                return ask(None, user_context=elicitation("What context should the prompt use?", context=STRING))
            messages = user(text("with context"))
        case _:
            raise MCPError(types.INVALID_PARAMS, "There is no such prompt.")
    return {"resultType": "complete", "messages": messages}


RESOURCES: Mapping[str, Wire] = {
    "test://static-text": {
        "mimeType": "text/plain",
        "text": "This is the content of the static text resource.",
    },
    "test://static-binary": {"mimeType": "image/png", "blob": PNG},
    "test://template/123/data": {
        "mimeType": "application/json",
        "text": '{"id":"123","templateTest":true,"data":"Data for ID: 123"}',
    },
}


def mount(server: McpServer) -> McpServer:
    """Put the fixtures beside what the server offers; its own tools and resources stay as they are."""
    server.get_tool_input_schema = lambda name: TOOLS[name][0]["inputSchema"] if name in TOOLS else None
    source = running.Tasks()
    server.tasks.sources.append(source)
    own = {method: cast(Any, server.get_request_handler(method)).handler for method in ("tools/list", "tools/call")}
    own_read = cast(Any, server.get_request_handler("resources/read")).handler

    async def list_tools(ctx: Context, params: types.PaginatedRequestParams) -> HandlerResult:
        answer = await own["tools/list"](ctx, params)
        fixtures = [TOOLS[name][0] for name in sorted(TOOLS)] + [running.listed(name) for name in running.SCHEMAS]
        fixtures = fixtures if params.cursor is None else []
        return {**answer, "tools": [*answer["tools"], *fixtures]}

    async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> HandlerResult:
        if params.name in TOOLS:
            return await TOOLS[params.name][1](ctx, params)
        if params.name in running.SCHEMAS:
            return await running.call(source, ctx, params)
        return cast(HandlerResult, await own["tools/call"](ctx, params))

    async def list_resources(ctx: Context, params: types.PaginatedRequestParams) -> HandlerResult:
        listed = [
            {"uri": uri, "name": uri, "description": "A fixture.", "mimeType": resource["mimeType"]}
            for uri, resource in RESOURCES.items()
            if "template" not in uri
        ]
        return {"resultType": "complete", "resources": listed}

    async def read_resource(ctx: Context, params: types.ReadResourceRequestParams) -> HandlerResult:
        uri = str(params.uri)
        if uri not in RESOURCES:
            return cast(HandlerResult, await own_read(replace(ctx), params))
        return {"resultType": "complete", "contents": [{"uri": uri, **RESOURCES[uri]}]}

    async def list_prompts(ctx: Context, params: types.PaginatedRequestParams) -> HandlerResult:
        listed = [
            {
                "name": name,
                "description": "A fixture.",
                "arguments": [{"name": argument, "description": argument, "required": True} for argument in arguments],
            }
            for name, arguments in PROMPTS.items()
        ]
        return {"resultType": "complete", "prompts": listed}

    async def get_prompt(ctx: Context, params: types.GetPromptRequestParams) -> HandlerResult:
        return prompt(params)

    async def complete(ctx: Context, params: types.CompleteRequestParams) -> HandlerResult:
        values = [word for word in ("paris", "park", "party") if word.startswith(params.argument.value)]
        return {"resultType": "complete", "completion": {"values": values, "total": len(values), "hasMore": False}}

    server.add_request_handler("tools/list", types.PaginatedRequestParams, list_tools)
    server.add_request_handler("tools/call", types.CallToolRequestParams, call_tool)
    server.add_request_handler("resources/list", types.PaginatedRequestParams, list_resources)
    server.add_request_handler("resources/read", types.ReadResourceRequestParams, read_resource)
    server.add_request_handler("prompts/list", types.PaginatedRequestParams, list_prompts)
    server.add_request_handler("prompts/get", types.GetPromptRequestParams, get_prompt)
    server.add_request_handler("completion/complete", types.CompleteRequestParams, complete)
    return server
