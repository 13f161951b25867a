"""What is wrong with a workflow beyond its wiring: parameters, wizard, transports, message edges. Pure.

What holds `{{…}}` is known only when a deployment is planned, and is checked then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs
import orjson

from core import pointers
from core.catalog import answers
from core.catalog.blueprints import check_blueprint
from core.catalog.names import listed
from core.catalog.wiring import Node, Wiring
from core.dsl.language import schedule
from core.errors import shorten
from core.model.catalog import Blueprint, Graph, Step, Transport, Workflow
from core.model.plan import Finding
from core.model.transport import OPTIONS
from core.near import did_you_mean
from core.workflows.modules import Modules
from core.workflows.placeholders import is_open, texts

_WIZARD = re.compile(r"\{\{\s*wizard\.([\w-]+)")
_SPOOLS = frozenset({Transport.FILE_STORE, Transport.OBJECT_STORE})  # their readers can wait for messages


def faults(graph: Graph, wired: Wiring, modules: Modules) -> Iterator[Finding]:
    """Every fault of the workflow itself; its modules were checked when they were published."""
    yield from _wizard(graph)
    yield from _references(graph)
    yield from _parameters(graph, modules)
    yield from _transports(graph)
    yield from _messages(graph, wired)


def warnings(graph: Graph) -> Iterator[Finding]:
    """What is allowed and probably not meant."""
    used = {name for _, value in _texts(graph) for name in _WIZARD.findall(value)}
    given = [step.with_ for step in graph.steps] + [channel.with_ for channel in graph.channels.values()]
    everything = b" ".join(orjson.dumps(with_) for with_ in given if with_)
    for index, question in enumerate(graph.wizard):
        if question.field not in used and f"{question.field}".encode() not in everything:
            message = f"Nothing reads the wizard field {question.field}."
            hint = f"Use it as {{{{wizard.{question.field}}}}}, or remove it."
            yield Finding("unread_field", message, hint, f"/wizard/{index}")


def _wizard(graph: Graph) -> Iterator[Finding]:
    for index, question in enumerate(graph.wizard):
        plain = question.model_copy(update={"choices": ()})
        for number, choice in enumerate(question.choices):
            if not answers.fit(plain, choice)[0]:
                message = f"The choice {shorten(choice, 60)} of {question.field} is not {answers.allowed(plain)}."
                hint = "Correct the choice, or the type."
                yield Finding("wrong_default", message, hint, f"/wizard/{index}/choices/{number}")
        if question.default is not None and not answers.fit(question, question.default)[0]:
            message = (
                f"The default {shorten(question.default, 60)} of {question.field} is not {answers.allowed(question)}."
            )
            yield Finding("wrong_default", message, "Correct the default.", f"/wizard/{index}/default")


def _references(graph: Graph) -> Iterator[Finding]:
    asked = {question.field for question in graph.wizard}
    for pointer, text in _texts(graph):
        for name in dict.fromkeys(_WIZARD.findall(text)):
            if name not in asked:
                message = f"{{{{wizard.{name}}}}} is not asked for{did_you_mean(name, asked)}."
                hint = f"Wizard fields: {listed(asked)}. Add one to `wizard`, or correct the name."
                yield Finding("unknown_reference", message, hint, pointer)


def _texts(graph: Graph) -> Iterator[tuple[str, str]]:
    """Every text with a placeholder, with its pointer."""
    for index, step in enumerate(graph.steps):
        if step.with_:
            yield from texts(step.with_, f"/steps/{index}/with")
    for name, channel in graph.channels.items():
        yield from texts(channel.with_, f"/channels/{name}/with")


# -- parameters ----------------------------------------------------------------------------------------------


def _parameters(graph: Graph, modules: Modules) -> Iterator[Finding]:
    known: dict[str, _Parameters] = {}
    for index, step in enumerate(graph.steps):
        pointer = f"/steps/{index}/with"
        if step.use is None:
            continue
        if step.use in modules.retired:
            message = f"Step {step.id} uses {step.use}, which is retired."
            yield Finding("retired_module", message, "Use a newer version.", f"/steps/{index}/use")
        module = modules.find(step.use)
        if isinstance(module, Workflow):
            yield from _module_values(step, module, pointer)
        elif isinstance(module, Blueprint):
            if step.use not in known:
                known[step.use] = _Parameters(module)
            yield from known[step.use].faults(step, pointer)


def _module_values(step: Step, module: Workflow, pointer: str) -> Iterator[Finding]:
    """The values that a step gives to the wizard of a module."""
    asked = {question.field: question for question in module.wizard}
    for name in step.with_:
        if name not in asked:
            message = f"Step {step.id}: {step.use} asks for no {shorten(name, 60)}{did_you_mean(name, asked)}."
            yield Finding(
                "unknown_value", message, f"It asks for: {listed(asked)}.", f"{pointer}/{pointers.escape(name)}"
            )
    for name, question in asked.items():
        value = step.with_.get(name, question.default)
        if value is None:
            if question.required:
                message = f"Step {step.id}: {step.use} needs a value for {name}."
                yield Finding("missing_value", message, f"Add with: {{{name}: ...}}.", pointer)
        elif name in step.with_ and not is_open(value) and not answers.fit(question, value)[0]:
            message = f"Step {step.id}: {name} must be {answers.allowed(question)}; found {shorten(value, 80)}."
            yield Finding("wrong_value", message, f"Give another value for {name}.", f"{pointer}/{name}")


class _Parameters:
    """The parameters of one blueprint, prepared for many steps."""

    def __init__(self, blueprint: Blueprint) -> None:
        schema = blueprint.parameters
        properties = schema.get("properties", {}) if isinstance(schema.get("properties", {}), dict) else {}
        self._properties = {name: value for name, value in properties.items() if isinstance(value, dict)}
        self._defaults = {name: value["default"] for name, value in self._properties.items() if "default" in value}
        self._validator = None
        if not any(fault.code == "invalid_schema" for fault in check_blueprint(blueprint)):
            self._validator = jsonschema_rs.validator_for(schema, offline=True)

    def faults(self, step: Step, pointer: str) -> Iterator[Finding]:
        given = {**self._defaults, **step.with_}
        if self._validator is None or self._validator.is_valid(given):
            return
        hint = f"Parameters of {step.use}: {listed(self._properties)}."
        for error in self._validator.iter_errors(given):
            path = [str(part) for part in error.instance_path]
            if path and is_open(given.get(path[0])):
                continue
            at = pointer + pointers.join(path)
            kind = error.kind
            if isinstance(kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties) and not path:
                for name in kind.unexpected:
                    message = f"Step {step.id}: {step.use} has no parameter {shorten(name, 60)}"
                    guess = did_you_mean(name, self._properties)
                    yield Finding("invalid_parameter", f"{message}{guess}.", hint, f"{at}/{pointers.escape(name)}")
            elif isinstance(kind, jsonschema_rs.ValidationErrorKind.Required) and not path:
                name = str(kind.property).strip('"')
                message = f"Step {step.id}: the parameter {name} of {step.use} is missing."
                yield Finding("invalid_parameter", message, f"Add with: {{{name}: ...}}.", at)
            else:
                message = f"Step {step.id}: {'.'.join(path) or 'with'}: {shorten(error.message, 200)}."
                yield Finding("invalid_parameter", message, hint, at)


# -- transports ----------------------------------------------------------------------------------------------


def _transports(graph: Graph) -> Iterator[Finding]:
    for name, channel in graph.channels.items():
        options, pointer = OPTIONS[channel.transport], f"/channels/{name}/with"
        settings = f"Settings of {channel.transport}: {listed(options)}."
        for key, value in channel.with_.items():
            option = options.get(key)
            at = f"{pointer}/{pointers.escape(key)}"
            if option is None:
                guess = did_you_mean(key, options)
                message = f"Channel {name}: {channel.transport} has no setting {shorten(key, 60)}{guess}."
                yield Finding("invalid_transport", message, settings, at)
            elif not is_open(value) and not jsonschema_rs.is_valid(dict(option.schema), value):
                message = f"Channel {name}: {shorten(value, 60)} is no value for {key}: {option.text}"
                yield Finding("invalid_transport", message, _expected(option.schema), at)
        for key, option in options.items():
            if option.required and key not in channel.with_:
                message = f"Channel {name}: {channel.transport} needs {key}: {option.text}"
                at = pointer if channel.with_ else f"/channels/{name}"
                yield Finding("invalid_transport", message, f"Add with: {{{key}: ...}}.", at)


def _expected(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return f"One of {', '.join(map(str, schema['enum']))}."
    if "pattern" in schema and "ms|s|m" in schema["pattern"]:
        return "Write a number and a unit, as in 30s, 5m, 2h, 1d."
    return f"It must be of type {schema.get('type', 'string')}."


# -- message edges -------------------------------------------------------------------------------------------


def _messages(graph: Graph, wired: Wiring) -> Iterator[Finding]:
    steps = {step.id: step for step in graph.steps}
    nodes: dict[str, list[Node]] = {}  # of a step, which may be a module
    for id, node in wired.nodes.items() if graph.messages else ():
        nodes.setdefault(id.partition(".")[0], []).append(node)
    for index, edge in enumerate(graph.messages):
        pointer = f"/messages/{index}"
        target = steps.get(edge.to)
        if target is not None and not _waits(nodes.get(target.id, []), wired):
            message = f"Step {edge.to} cannot wait for {edge.tag}: its input takes no message trigger."
            hint = "Feed it over a file-store channel, or begin it with an input that takes a trigger."
            yield Finding("deaf_target", message, hint, f"{pointer}/to")


def _waits(nodes: list[Node], wired: Wiring) -> bool:
    for node in nodes:
        for job in node.blueprint.jobs:
            source = _end(job, "input")
            if "port" in source:
                channel = wired.channels.get(node.ins.get(str(source["port"]), ""))
                if channel is None or channel.definition.transport in _SPOOLS:
                    return True
            elif any(name == "internal-messages" or schedule.takes_trigger(name) for name in source):
                return True
    return not nodes


def _end(job: Mapping[str, Any], side: str) -> Mapping[str, Any]:
    end = job.get(side)
    return end if isinstance(end, Mapping) else {str(end): None} if isinstance(end, str) else {}
