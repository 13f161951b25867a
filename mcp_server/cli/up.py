"""`sluice up`: from files to what runs: check all, publish, plan, show, ask, apply, wait.

Each step stops the ones behind it, and what was done before stays: a version that was published is there, a plan that
nobody applied is saved. What stays is told, because the next `up` goes on from it and does nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from core import errors
from mcp_server.cli import codes, confirming, connect, deployments, documents, plans, progress, render, wording

if TYPE_CHECKING:
    from core.documents import Document

_ORDER = {"blueprint": 0, "workflow": 1}  # what is used is published before what uses it
Pairs = Annotated[list[str] | None, Parameter(negative=())]


class _File(NamedTuple):
    document: Document
    text: str
    name: str

    @property
    def kind(self) -> str:
        return str(self.document.data.get("kind"))

    @property
    def slug(self) -> str:
        return str(self.document.data.get("slug"))


async def up(
    *files: Annotated[str, Parameter(name="FILE", allow_leading_hyphen=True)],
    name: str | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    group: str | None = None,
    place: Pairs = None,
    replicas: Pairs = None,
    environment: str | None = None,
    yes: Annotated[bool, Parameter(name=("--yes", "-y"), negative=())] = False,
    wait: int = deployments.APPLY_SECONDS,
    reason: str = "",
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Deploy files: check all of them, publish, plan, show what would change, ask, apply, and wait for it.

    When nothing has changed, nothing is done, and it ends with the code for how the deployment stands. A plan with
    blockers is not applied.

    Parameters
    ----------
    files
        A workflow, and blueprints that it uses; - for standard input.
    name
        The deployment; the slug of the workflow when left out.
    set_
        Values of its wizard, FIELD=VALUE; may be repeated. Those left out stay as they were applied.
    group
        The worker group for steps that name none.
    place
        Run a step in a group, STEP=GROUP; may be repeated.
    replicas
        How many copies of a step, STEP=N; may be repeated.
    environment
        Whose context values {{name}} sees.
    yes
        Apply without asking; needed where nobody can be asked.
    wait
        How long to wait for the outcome, in seconds; 0 returns at once.
    reason
        Why, in your words: kept in the history of the deployment.
    """
    given = {
        "values": documents.values(set_ or ()),
        "worker_group": group,
        "placement": documents.texts(place or (), "--place"),
        "replicas": documents.numbers(replicas or (), "--replicas"),
        "environment": environment,
    }
    read, faults = _read(files)
    async with connect.engine(common, follows=True) as engine:
        await _check(engine, read, faults)
        published = [await _publish(engine, one) for one in read]
        answer: dict[str, Any] = {"deployment": "", "published": published, "plan": None, "applied": None}
        for one in published if not common.json else ():
            render.text(f"{one['source']}: {'published' if one['changed'] else 'as published before'}")
        slug = read[-1].slug.replace("_", "-").strip("-")
        with _behind(published):
            answer["plan"] = made = await engine.call(
                "deployment_plan", name=name or slug, source=published[-1]["source"], **given
            )
        answer["deployment"] = made["name"]
        if not common.json:
            plans.text(made["text"])
        code = _stops(made, yes=yes) if _changes(made) or made["blockers"] else await _stands(engine, made, wait)
        if code is None:
            with progress.bar(engine, made["plan_id"], f"applying {made['name']}", quiet=common.json):
                done = await engine.call(
                    "deployment_apply", plan_id=made["plan_id"], wait_seconds=wait, reason=reason or None
                )
            answer["applied"] = done
            code = codes.FAILED if done["rolled_back"] else codes.of_apply(done["state"], waited=wait > 0)
    if common.json:
        render.json(answer)
    elif answer["applied"]:
        deployments.applied(answer["applied"], {})
    return code


def _read(files: Sequence[str]) -> tuple[list[_File], list[errors.Problem]]:
    """The documents, those that others use first, and the faults of files that hold none or one too many.

    Raises InvalidParams for a file that is not there.
    """
    from core import documents as reading

    if not files:
        raise errors.InvalidParams("No file was named.", hint="Begin one with: sluice workflow new > workflow.yaml")
    if len(files) != len(set(files)):
        raise errors.InvalidParams("A file was named twice.")
    read: list[_File] = []
    faults: list[errors.Problem] = []
    for source in files:
        text, name = documents.text(source)
        try:
            found = [_File(document, text, name) for document in reading.load(text, origin=name)]
        except errors.SluiceError as error:
            faults += error.errors or [errors.Problem("", error.message, name)]
            continue
        if len(found) > 1:
            faults.append(errors.Problem("", "a file holds one document here", found[1].document.where("")))
            continue
        faults += [
            errors.Problem("/kind", "is neither workflow nor blueprint", one.document.where("/kind"))
            for one in found
            if one.kind not in _ORDER
        ]
        read += [one for one in found if one.kind in _ORDER]
    workflows = [one for one in read if one.kind == "workflow"]
    faults += [errors.Problem("", "a second workflow: deploy one at a time", one.name) for one in workflows[1:]]
    if not faults and not workflows and len(read) > 1:
        faults.append(errors.Problem("", "none of the files is a workflow", read[0].name))
    return sorted(read, key=lambda one: _ORDER[one.kind]), faults


async def _check(engine: connect.Client, read: Sequence[_File], unread: Sequence[errors.Problem]) -> None:
    """Raise InvalidDocument with every fault of every file, but that one of them is not published yet."""
    faults = list(unread)
    here = {f"{one.kind}:{one.slug}" for one in read}
    for one in read:
        found = await engine.call("workflow_validate", document=one.text)
        documents.place(found, one.name)
        if not found["valid"] and not found["errors"]:
            faults.append(errors.Problem("", found["message"], one.name))
        faults += [
            errors.Problem(fault["pointer"], _with_hint(fault), fault.get("where") or one.name)
            for fault in found["errors"]
            if not (fault["pointer"].endswith("/use") and _used(one, fault["pointer"]) in here)
        ]
    if faults:
        raise _invalid(faults)


def _with_hint(fault: Mapping[str, Any]) -> str:
    return f"{fault['message']} {wording.hint(fault.get('hint', ''))}".rstrip()


def _used(one: _File, pointer: str) -> str:
    """KIND:SLUG of what a step uses, by the place of it."""
    from core import pointers

    value: Any = one.document.data
    for part in pointers.split(pointer):
        value = value[int(part)] if isinstance(value, list) else value.get(part, "")
    return str(value).partition("@")[0]


def _invalid(faults: Sequence[errors.Problem]) -> errors.InvalidDocument:
    count = f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}"
    return errors.InvalidDocument(f"{count}; nothing was changed.", errors=faults)


async def _publish(engine: connect.Client, one: _File) -> dict[str, Any]:
    with documents.named(one.name):
        draft = await engine.call("workflow_save_draft", document=one.text)
        done = await engine.call(
            "workflow_publish", slug=draft["slug"], type=draft["type"], draft_revision=draft["draft_revision"]
        )
    return {name: done[name] for name in ("source", "version", "changed")}


class _behind:
    """Say what stays when what comes behind fails."""

    def __init__(self, published: Sequence[Mapping[str, Any]]) -> None:
        self._new = [one["source"] for one in published if one["changed"]]

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._new:
            connect.note(f"Stays published: {', '.join(self._new)}. Nothing was applied.")


def _stops(made: Mapping[str, Any], *, yes: bool) -> int | None:
    """The exit code when the plan is not to be applied; None when it is."""
    if made["blockers"]:
        connect.note("Blocked: nothing was applied. What was published stays; mend it, and run the same again.")
        return codes.BLOCKED
    if yes or confirming.agreed(f"Apply this to {made['name']}?"):
        return None
    connect.note(f"Not applied. The plan stays for a while: sluice apply {made['plan_id']} (or add --yes).")
    return codes.REFUSED


def _changes(made: Mapping[str, Any]) -> bool:
    return any(number for what, number in made["summary"].items() if what != "unchanged")


async def _stands(engine: connect.Client, made: Mapping[str, Any], wait: int) -> int:
    """The exit code where nothing is to be changed: who repeats an `up` that ended degraded is told again."""
    found = await engine.call("deployment_get", name=made["name"])
    code = codes.of_apply(found["state"], waited=wait > 0)
    if code == codes.OK:
        connect.note("Nothing to change: it runs as the files say.")
    else:
        connect.note(": ".join(filter(None, (f"Nothing to change; it is {found['state']}", found["reason"]))))
    return code
