"""The other end of a trigger: whether its job is deployed, listens, and answers in the slot; and what mends it. Pure.

Publishing and revising tell what is found here as warnings, `explain` as causes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from core import errors
from core.documents import dump
from core.dsl.language import answering
from core.dsl.language import compile as compiler
from core.explain.chain import Call
from core.model.message import Filter, Kind, Message, Source, Type
from core.model.trigger import RESPONSE, Definition

if TYPE_CHECKING:
    from core.model.results import triggers

PLACES = ("path", "url", "bucket", "channel", "stream", "target", "tag")  # keys of outputs that say where to
MOST_ARGUMENTS = 6_000  # bytes of one call, so that doors answer with all of it


@dataclass(frozen=True, slots=True)
class Target:
    """What is known of the job that a trigger names, in the tenant of the trigger."""

    document: Mapping[str, Any] | None = None  # that is deployed; None: nothing is
    filter: Filter | None = None  # of the deployed document
    deployment: str = ""  # what manages it
    staged: Mapping[str, Any] | None = None  # the newest version that somebody staged
    listening: Sequence[str] = ()  # other deployed jobs that take the messages of the trigger
    answered_elsewhere: bool = False  # another deployed job writes an answer in the slot


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that keeps a trigger from its job, or callers from the trigger; `mend` in the order of the calls."""

    code: str
    message: str
    mend: Sequence[Call]

    def to_dict(self) -> triggers.Mismatch:
        return {"code": self.code, "message": self.message, "mend": [call.to_dict() for call in self.mend]}


def mismatches(definition: Definition, target: Target) -> list[Mismatch]:
    """What does not fit between a trigger and the rest, each with the calls that mend it.

    Who makes the calls of all of them, one after the other, has mended everything: each revises the definition, or
    stages the document, as the ones before have left it.
    """
    return _Checks(definition, target).run()


class _Checks:
    """One check; `_wished` and `_document` collect what the calls so far have changed."""

    def __init__(self, definition: Definition, target: Target) -> None:
        self._definition = definition
        self._target = target
        self._wished = definition.model_dump(exclude_defaults=True, exclude={"kind"})
        self._wished["tenant_id"] = definition.tenant_id
        self._job = definition.target_job_name
        staged = target.staged if target.staged is not None else target.document
        self._document = copy.deepcopy(dict(staged)) if staged is not None else {}

    def run(self) -> list[Mismatch]:
        found = [self._not_deployed()] if self._target.document is None else [self._deaf(), self._mute()]
        return [one for one in (*found, self._hidden()) if one is not None]

    # -- the checks ----------------------------------------------------------------------------------------

    def _not_deployed(self) -> Mismatch:
        job, tenant = self._job, self._definition.tenant_id
        told = f"No job {job} is deployed in tenant {tenant}: a run fails at once"
        deploy = Call("job_deploy", {"name": job}, f"run it, in tenant {tenant}")
        if self._target.staged is not None:
            return Mismatch("target_not_deployed", f"{told}; it is only staged.", [deploy])
        if len(self._target.listening) == 1:
            (other,) = self._target.listening
            mend = self._revise(target_job_name=other, why=f"let it run {other}, which listens to the tag")
            return Mismatch("target_not_deployed", f"{told}. Job {other} listens to its messages.", [mend])
        put = self._put(_handler(self._definition), "stage a handler to start from, and put the work into it")
        return Mismatch("target_not_deployed", f"{told}; none is staged either.", [put, deploy])

    def _deaf(self) -> Mismatch | None:
        filter, tag = self._target.filter, self._definition.target_message_tag
        if filter is not None and filter.matches(message(self._definition)):
            return None
        sends = f"user-generated messages with {f'the tag {tag}' if tag else 'no tag'}"
        told = f"Job {self._job} does not listen to what the trigger sends ({sends}): a run fails at once"
        if filter is None:
            told += "; it waits for no message."
        else:
            told += f"; its filter is {orjson.dumps(_given(filter)).decode()}."
            heard = next((one for one in filter.tags if filter.matches(message(self._definition, one))), None)
            if heard is not None:
                mend = self._revise(target_message_tag=heard, why=f"send the tag {heard}, which the job listens to")
                return Mismatch("filter_does_not_match", told, [mend])
        return Mismatch("filter_does_not_match", told, self._change(_listening(self._document, tag), "let it listen"))

    def _mute(self) -> Mismatch | None:
        slot = self._definition.response_slot
        document = self._target.document
        if not slot or document is None:
            return None
        answers = answering.of(document)
        if answers.fits(slot) or self._target.answered_elsewhere:
            return None
        late = f"a run waits {self._definition.response_timeout_seconds} s and is timed_out"
        if not answers.never:
            named = sorted(answers.slots)
            told = f"Job {self._job} answers in the slot {', '.join(named)}, the trigger waits in {slot}: {late}."
            mend = self._revise(response_slot=named[0], why=f"wait in the slot {named[0]}")
            return Mismatch("answers_in_another_slot", told, [mend])
        told = (
            f"The document of job {self._job} has no {RESPONSE} and no respond: {late}. Add an answer, or leave "
            "response_slot out when nobody needs one."
        )
        return Mismatch("never_answers", told, self._change(_answering(self._document), "let it answer"))

    def _hidden(self) -> Mismatch | None:
        publication = self._definition.publication
        if publication.mcp or publication.ui_admin or publication.ui_user:
            return None
        told = (
            "The trigger is published nowhere: it is no MCP tool and not in the console. HTTP and the CLI can run it."
        )
        mend = self._revise(
            publication={"mcp": True, "ui_admin": True}, why="make it an MCP tool, and show it to admins"
        )
        return Mismatch("published_nowhere", told, [mend])

    # -- what mends ----------------------------------------------------------------------------------------

    def _revise(self, *, why: str, **changes: Any) -> Call:
        self._wished.update(changes)
        if len(orjson.dumps(self._wished)) > MOST_ARGUMENTS:
            see = f"see the definition, which is too long to repeat here; revise it to {why}"
            return Call("trigger_get", {"slug": self._definition.slug}, see)
        return Call("trigger_revise", copy.deepcopy(self._wished), why)

    def _put(self, document: Mapping[str, Any], why: str) -> Call:
        return Call("job_put", {"document": dump.to_yaml(dict(document))}, why)

    def _change(self, document: dict[str, Any] | None, why: str) -> list[Call]:
        """Stage and deploy a changed document; only a look at what has to change, where that is not ours to write."""
        if self._target.deployment:
            see = f"see the deployment, whose workflow writes this job; {why} there"
            return [Call("deployment_get", {"name": self._target.deployment}, see)]
        if document is None or len(orjson.dumps(document)) > MOST_ARGUMENTS:
            return [Call("job_get", {"name": self._job}, f"see the document; {why}")]
        self._document = document
        deploy = Call("job_deploy", {"name": self._job}, "run the new version")
        return [self._put(document, why), deploy]


def _given(filter: Filter) -> dict[str, Any]:
    return {key: value for key, value in filter.to_dict().items() if value}


def output(document: Mapping[str, Any]) -> str:
    """Where the events of a job go, in a few words: the name of its output, and its place when it says one."""
    declared = document.get("output")
    if not isinstance(declared, Mapping) or len(declared) != 1:
        return str(declared)
    ((name, keys),) = declared.items()
    place = next((keys[key] for key in PLACES if key in keys), "") if isinstance(keys, Mapping) else keys
    return f"{name} {errors.shorten(place, 80)}" if isinstance(place, str) and place else str(name)


def message(definition: Definition, tag: str | None = None) -> Message:
    """The message of a run, as far as filters see it; with another tag than the trigger sends."""
    tag = definition.target_message_tag if tag is None else tag
    return Message(0, definition.tenant_id, Kind.USER, Source.SERVER, Type.USER_GENERATED, tag)


def _wanted(tag: str) -> dict[str, Any]:
    """The filter keys that take the messages of a trigger."""
    wanted: dict[str, Any] = {"filter-kind": "user", "filter-type": [Type.USER_GENERATED.value]}
    return {**wanted, "filter-tag": tag} if tag else wanted


def _handler(definition: Definition) -> dict[str, Any]:
    """A job to start from: it answers with its parameters, or prints them where nobody waits for an answer."""
    wanted = _wanted(definition.target_message_tag)
    params = "${msg|job_event.params}"
    return {
        "name": definition.target_job_name,
        "input": {"echo": {"event": "{}", "json": True, "trigger": {"message": wanted}}},
        "actions": [] if definition.response_slot else [{"add": {"output-fields": {"params": params}}}],
        "output": {"respond": {"result": {"params": params}}} if definition.response_slot else {"print": "STDOUT"},
    }


def _listening(document: Mapping[str, Any], tag: str) -> dict[str, Any] | None:
    """The document with a filter that takes the messages of the trigger; None where its input takes none."""
    source = document.get("input")
    if not isinstance(source, Mapping) or len(source) != 1:
        return None
    ((name, keys),) = source.items()
    keys = dict(keys) if isinstance(keys, Mapping) else {}
    changed = _wanted(tag) if name == "internal-messages" else {**keys, "trigger": {"message": _wanted(tag)}}
    return _sound({**document, "input": {name: changed}})


def _answering(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The document with an answer: in the place of an output that does nothing, else beside it."""
    output = document.get("output")
    if output == "discard" or (isinstance(output, Mapping) and "discard" in output):
        return _sound({**document, "output": {"respond": {}}})
    emits = document.get("emit")
    before = emits if isinstance(emits, list) else [] if emits is None else [emits]
    return _sound({**document, "emit": [*before, {"respond": {}}]})


def _sound(document: dict[str, Any]) -> dict[str, Any] | None:
    try:
        compiler.check_job(document)
    except errors.InvalidDocument:
        return None
    return document
