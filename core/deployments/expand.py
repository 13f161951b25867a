"""From a source document and values to concrete jobs: the first half of a plan, pure.

Every fault that keeps the deployment from being applied becomes a blocker; nothing here raises for what a person
wrote, so that a plan always shows all of them at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs
import orjson

from core.catalog import answers, blueprints, graph, wiring
from core.contexts.layers import Level
from core.deployments import closed, resets, transports
from core.deployments import draft as drafting
from core.deployments.draft import Draft
from core.deployments.surroundings import EVERYWHERE, Contexts, Place, Surroundings
from core.documents import canonical
from core.dsl.language import compile as compiler
from core.dsl.language import mentions
from core.dsl.language import templates as templates
from core.errors import InvalidDocument, shorten
from core.guard.pathrules import Locator
from core.model import deployment, secret
from core.model.catalog import Blueprint, Graph, Perspective, Step, WizardField, Workflow
from core.model.deployment import Reset, Role
from core.model.operation import schema_problems
from core.model.plan import Finding
from core.near import did_you_mean

CheckJob = Callable[[dict[str, Any]], compiler.CheckedJob]
"""Validate a finished job document; raises InvalidDocument."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the caller wishes for."""

    name: str
    source: str  # as it is recorded: workflow:SLUG@VERSION or blueprint:SLUG@VERSION
    tenant: str = "default"
    group: str = "default"
    values: Mapping[str, Any] = field(default_factory=dict)
    placement: Mapping[str, str] = field(default_factory=dict)  # step -> worker group
    replicas: Mapping[str, int] = field(default_factory=dict)  # step -> copies
    resets: Mapping[str, Reset] = field(default_factory=dict)  # job -> from where it was told to read


@dataclass(slots=True)
class Expansion:
    """The jobs and channels of a wish. `together` are the sets of jobs that must share a worker."""

    jobs: dict[str, deployment.Job] = field(default_factory=dict)
    channels: dict[str, deployment.Channel] = field(default_factory=dict)
    together: list[tuple[str, ...]] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    blockers: list[Finding] = field(default_factory=list)
    contexts: Mapping[tuple[str, Level, str], str] = field(default_factory=dict)  # used: (key, level, target) -> digest
    secrets: set[str] = field(default_factory=set)  # full names of those that its jobs and blueprints need
    resets: dict[str, Reset] = field(default_factory=dict)  # those that still count


def expand(
    source: Blueprint | Workflow | Perspective,
    request: Request,
    lookup: wiring.Lookup,
    surroundings: Surroundings | None = None,
    check_job: CheckJob | None = None,
) -> Expansion:
    """Resolve modules, parameters, placeholders and transports to the jobs that workers run."""
    return _Expander(request, surroundings or Surroundings(), check_job).run(source, lookup)


def refused(job: str, checked: compiler.CheckedJob, files: Locator, pointer: str = "") -> list[Finding]:
    """A blocker for each place that a job may not read or write where it is to run."""
    return [
        Finding("path_not_allowed", f"Job {job}, {one.pointer}: {one.why.message}.", _sentence(one.why.hint), pointer)
        for one in compiler.refusals(checked, files)
    ]


def replicated(job: str, checked: compiler.CheckedJob, replicas: int, pointer: str = "") -> list[Finding]:
    """A warning when several replicas of a job run by a timer."""
    if replicas < 2 or compiler.timer_of(checked.input) is None:
        return []
    message = f"The {replicas} replicas of job {job} each keep a timetable: each firing is {replicas} runs."
    hint = "Take one replica, or let a replica hold a lock in the KV store before it works (docs/schedules.md)."
    return [Finding("replicas_of_a_schedule", message, hint, pointer)]


class _Expander:
    def __init__(self, request: Request, surroundings: Surroundings, check_job: CheckJob | None) -> None:
        self.request = request
        self.around = surroundings
        self.check_job = check_job
        self.out = Expansion()
        self._contexts = Contexts(self.around)
        self._offers: dict[tuple[int, Place], Mapping[str, Any]] = {}  # (id(scope), place) -> what {{}} sees there
        self._wizard: Mapping[str, Any] = {}  # the answers that the deployment gives
        self._unanswered: set[str] = set()  # wizard fields whose answer is missing or wrong, which is told once
        self._absent: dict[str, tuple[str, str]] = {}  # full name of a secret -> (who needs it first, pointer)
        self._refused: list[Finding] = []
        self._modules: dict[str, _Module] = {}

    def block(self, code: str, message: str, hint: str = "", pointer: str = "") -> None:
        self.out.blockers.append(Finding(code, message, hint, pointer))

    def run(self, source: Blueprint | Workflow | Perspective, lookup: wiring.Lookup) -> Expansion:
        tree, values = self._as_graph(source)
        if isinstance(source, Perspective):
            self.block(
                "not_deployable",
                f"{source.slug} is a perspective: a skeleton that is completed before it is deployed.",
                "Clone it (workflow_clone), bind its slots, publish it, and plan the workflow.",
            )
        find = lookup if not isinstance(source, Blueprint) else lambda ref: source
        wired = graph.wire(tree, find)
        self.out.blockers += wired.findings
        self._wizard = self._answers(tree.wizard, values, "", "the deployment")
        self._check_overrides(wired)
        drafts = [draft for node in wired.nodes.values() for draft in self._node(node)]
        options = {name: self._options(channel) for name, channel in wired.channels.items()}
        complete = not any(one.code == "missing_value" for one in self.out.blockers)
        woven = transports.weave(
            drafts,
            wired,
            options,
            self.request.tenant,
            self.request.name,
            complete=complete,
            nats=self.around.nats,
        )
        self.out.blockers += woven.blockers
        self.out.warnings += woven.warnings
        self.out.together = woven.together
        self.out.channels = woven.channels
        for draft in woven.drafts:
            self._finish(draft)
        self.out.blockers += self._refused
        for name, (who, pointer) in self._absent.items():
            hint = f"Set it, then plan again: {secret.command(name, self.request.tenant)}"
            self.block("missing_secret", f"missing secret {name}: {who} needs it.", hint, pointer)
        self.out.blockers = list(dict.fromkeys(self.out.blockers))
        self.out.contexts = self._contexts.used
        return self.out

    def _as_graph(self, source: Blueprint | Workflow | Perspective) -> tuple[Graph, Mapping[str, Any]]:
        """A blueprint is deployed as a workflow of one step whose parameters are the values."""
        if not isinstance(source, Blueprint):
            return source, self.request.values
        step = Step.model_validate(
            {
                "id": re.sub("[-_]+", "-", source.slug).strip("-"),
                "use": f"blueprint:{source.slug}@{source.version}",
                "with": dict(self.request.values),
            }
        )
        return Workflow.model_construct(slug=source.slug, steps=(step,), channels={}, wizard=(), messages=()), {}

    # -- values --------------------------------------------------------------------------------------------

    def _answers(
        self, questions: Iterable[WizardField], values: Mapping[str, Any], pointer: str, whose: str
    ) -> dict[str, Any]:
        """The wizard's values with defaults; a fault is a blocker each."""
        known = {question.field: question for question in questions}
        for name in values:
            if name not in known:
                guess = did_you_mean(name, known)
                self.block(
                    "unknown_value",
                    f"The values of {whose} name {shorten(name, 60)}, which nothing asks for{guess}.",
                    f"Asked for: {', '.join(known) or 'nothing'}.",
                    f"{pointer}/values/{name}",
                )
        given: dict[str, Any] = {}
        for name, question in known.items():
            value = values.get(name, question.default)
            if value is None or (value == "" and question.required):
                if question.required:
                    self._unanswered.add(name)
                    self.block(
                        "missing_value",
                        f"{question.title or name} ({name}) has no value.",
                        f"Give it with values: {{{name}: ...}} (CLI: --set {name}=...).",
                        f"{pointer}/values/{name}",
                    )
                given[name] = ""  # keeps {{wizard.x}} from being reported a second time
                continue
            fits, value = answers.fit(question, value)
            if not fits:
                self._unanswered.add(name)
                allowed = answers.allowed(question)
                self.block(
                    "wrong_value",
                    f"{question.title or name} ({name}) must be {allowed}; found {shorten(value, 80)}.",
                    f"Give another value for {name}.",
                    f"{pointer}/values/{name}",
                )
            given[name] = value
        return given

    def _context(self, scope: wiring.Scope, place: Place = EVERYWHERE) -> Mapping[str, Any]:
        """What {{name}} sees in one use of a workflow, for a job in this place."""
        known = self._offers.get((id(scope), place))
        if known is None:
            given = self._wizard
            if scope.parent is not None:
                values = self._stage(
                    dict(scope.values), self._context(scope.parent, place), f"{scope.pointer}/with", place
                )
                given = self._answers(scope.graph.wizard, values, scope.pointer, f"module {scope.graph.slug}")
            known = {**_own(scope.graph), **self._contexts.values(place), **given, "wizard": given}
            self._offers[id(scope), place] = known
        return known

    def _stage(
        self, data: dict[str, Any], context: Mapping[str, Any], pointer: str, place: Place = EVERYWHERE
    ) -> dict[str, Any]:
        """Replace {{}}; what is missing becomes blockers and an empty text."""
        if b"{{" not in orjson.dumps(data):
            return data
        return self._fill(templates.Prepared(data), context, pointer, place)

    def _fill(
        self, prepared: templates.Prepared, context: Mapping[str, Any], pointer: str, place: Place
    ) -> dict[str, Any]:
        self._contexts.note(prepared.names, context, place)
        try:
            return prepared.fill(context)  # type: ignore[no-any-return]
        except InvalidDocument as error:
            for problem in error.errors or ():
                self.block("missing_value", f"{_sentence(problem.message)}.", error.hint, pointer + problem.pointer)
            if not error.errors:
                self.block("invalid_values", error.message, error.hint, pointer)
            return {}

    def _check_overrides(self, wired: wiring.Wiring) -> None:
        if not self.request.placement and not self.request.replicas:
            return
        steps = {part for id in wired.nodes for part in _prefixes(id)}
        for what, keys in (("placement", self.request.placement), ("replicas", self.request.replicas)):
            for key in keys:
                if key not in steps:
                    self.block(
                        "unknown_step",
                        f"{what} names a step {shorten(key, 60)} that is not there{did_you_mean(key, steps)}.",
                        f"Steps: {', '.join(sorted(steps)) or 'none'}.",
                        f"/{what}/{key}",
                    )

    # -- jobs ----------------------------------------------------------------------------------------------

    def _node(self, node: wiring.Node) -> list[Draft]:
        module = self._modules.get(node.ref)
        if module is None:
            module = self._modules[node.ref] = _Module(node.blueprint)
            self._check_requirements(node)
        group = _override(self.request.placement, node.id) or node.group or self.request.group
        replicas = _override(self.request.replicas, node.id) or node.replicas
        step = node.id.replace(".", "--")
        labels = (
            [""] if len(module.jobs) == 1 else [f"--{job.get('name', n)}" for n, (job, _) in enumerate(module.jobs)]
        )
        jobs = [drafting.bounded(f"{self.request.name}--{step}{label}") for label in labels]
        place = self._contexts.place(group, jobs[0] if len(jobs) == 1 else "")
        params = self._params(node, module, place)
        drafts = []
        for index, (name, (job, open_part)) in enumerate(zip(jobs, module.jobs, strict=True)):
            document = job
            if open_part is not None:
                place = self._contexts.place(group, name)
                inner = {**(job.get("context") or {}), **self._context(node.scope, place), **params}
                document = {**job, **self._fill(open_part, inner, f"{node.pointer}/use/jobs/{index}", place)}
            drafts.append(
                Draft(
                    name,
                    node.id,
                    Role.STEP,
                    node.ref,
                    group,
                    replicas,
                    document,
                    node.ins,
                    node.outs,
                    node.pointer,
                    node.spread,
                )
            )
        return drafts

    def _params(self, node: wiring.Node, module: _Module, place: Place) -> dict[str, Any]:
        context = self._context(node.scope, place)
        given = self._stage(node.step.with_, context, f"{node.pointer}/with", place)
        params = {**module.defaults, **given}
        if module.validator is not None and not module.validator.is_valid(params):
            for problem in schema_problems(module.validator, params):
                if self._follows(node.step.with_.get(problem.pointer.split("/")[1]) if problem.pointer else None):
                    continue
                known = ", ".join(module.blueprint.parameters.get("properties", {})) or "none"
                self.block(
                    "invalid_parameter",
                    f"Step {node.id}: {problem.message}.",
                    f"Parameters of {node.ref}: {known}.",
                    f"{node.pointer}/with{problem.pointer}",
                )
            for name in module.blueprint.parameters.get("required", ()):
                params.setdefault(name, "")  # told above; its placeholders are not told again
        return params

    def _follows(self, given: Any) -> bool:
        """Whether what a step gives takes an answer that is told to be missing or wrong."""
        if not self._unanswered or given is None:
            return False
        return not self._unanswered.isdisjoint(_ASKED.findall(orjson.dumps(given).decode()))

    def _check_requirements(self, node: wiring.Node) -> None:
        needs = node.blueprint.requires
        for name in needs.secrets:
            try:
                self._need(secret.named(name), node.ref, node.pointer)
            except ValueError as error:
                self.block("invalid_requirement", f"{node.ref}: {error}.", "Mend requires.secrets.", node.pointer)
        if self.around.features is not None:
            for name in sorted(set(needs.features) - self.around.features):
                message = f"{node.ref} needs the feature {name}, which is not there."
                self.block("missing_feature", message, "An administrator can turn it on.", node.pointer)

    def _need(self, one: secret.Reference, who: str, pointer: str) -> None:
        """Remember a secret that is needed, and whether it is not set."""
        self.out.secrets.add(one.secret)
        if self.around.secrets is not None and one.secret not in self.around.secrets:
            self._absent.setdefault(one.secret, (who, pointer))

    def _options(self, channel: wiring.WiredChannel) -> dict[str, Any]:
        return self._stage(dict(channel.definition.with_), self._context(channel.scope), f"{channel.pointer}/with")

    def _finish(self, draft: Draft) -> None:
        document = {"name": draft.name, **{key: v for key, v in draft.document.items() if key not in _NOT_IN_JOBS}}
        reset = self.request.resets.get(draft.name)
        if reset is not None and (again := resets.onto(document, reset)) is not None:
            document, self.out.resets[draft.name] = again, reset
        if self.check_job is not None and not self.out.blockers:
            try:
                checked = self.check_job(document)
                self.out.warnings += replicated(draft.name, checked, draft.replicas, draft.pointer)
                if self.around.files is not None:
                    files = self.around.files(draft.group)
                    self._refused += refused(draft.name, checked, files, draft.pointer)
                if self.around.candidates is not None:
                    told = closed.of_checked(draft.name, draft.group, checked, self.around.candidates, draft.pointer)
                    self._refused += told.blockers
                    self.out.warnings += told.warnings
            except InvalidDocument as error:
                for problem in error.errors or ():
                    where = f"job {draft.name}, {problem.pointer or '/'}: {problem.message}"
                    hint = f"Mend the values that step {draft.step} is given, or {draft.origin}."
                    self.block("invalid_job", f"{where}.", hint, draft.pointer)
                if not error.errors:
                    self.block("invalid_job", f"Job {draft.name}: {error.message}", error.hint, draft.pointer)
        for one in mentions.secrets(document):
            self._need(one, f"job {draft.name}", draft.pointer)
        self.out.jobs[draft.name] = deployment.Job(
            draft.name,
            draft.step,
            draft.role,
            draft.origin,
            draft.group,
            draft.replicas,
            document,
            canonical.digest(document),
        )


_ASKED = re.compile(r"\{\{\s*(?:wizard\.)?([\w-]+)")  # the wizard fields that a text may take
_NOT_IN_JOBS = frozenset({"name", "kind", "context"})


class _Module:
    """A blueprint prepared for many uses: what has placeholders, what the defaults are."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        self.jobs = [(job, _open_part(job)) for job in blueprint.jobs]
        properties = blueprint.parameters.get("properties", {})
        self.defaults = {
            name: schema["default"]
            for name, schema in properties.items()
            if isinstance(schema, dict) and "default" in schema
        }
        self.validator: Any = None
        if not any(finding.code == "invalid_schema" for finding in blueprints.check_blueprint(blueprint)):
            self.validator = jsonschema_rs.validator_for(blueprint.parameters, offline=True)


def _open_part(job: dict[str, Any]) -> templates.Prepared | None:
    """The keys of a job with placeholders below them."""
    found = {key: value for key, value in job.items() if b"{{" in orjson.dumps(value)}
    return templates.Prepared(found) if found else None


def _own(tree: Graph) -> dict[str, Any]:
    return dict(getattr(tree, "context", None) or {})


def _override(given: Mapping[str, Any], id: str) -> Any:
    """The setting for a step, or for the module that it is in."""
    if not given:
        return None
    return next((given[part] for part in reversed(_prefixes(id)) if part in given), None)


def _prefixes(id: str) -> list[str]:
    parts = id.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
