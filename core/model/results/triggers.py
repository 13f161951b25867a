"""Triggers, their runs, and the callbacks that tell of them."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from core.model import trigger
from core.model.operation import Effect
from core.model.principal import Role, Surface
from core.model.results.basics import Call, Difference, Json, JsonObject, Listing, Row, Time
from core.model.states import InvocationState


class Caller(TypedDict):
    """Who started a run."""

    username: str
    role: Annotated[str, Role]


class TriggerBrief(Row):
    slug: str
    tenant_id: str
    revision: int
    active: bool
    deactivated_at: NotRequired[Time | None]
    """This and `deactivated_by` only of one that is not active."""
    deactivated_by: NotRequired[str | None]
    display_name: str
    description: str
    target_job_name: str
    publication: Annotated[dict[str, Any], trigger.Publication]
    effect: Effect
    """What a run does to the world."""
    mode: Literal["response_slot", "dispatch_only"]
    """Whether a run ends with the answer of the job, or when the message is accepted."""
    tool_name: str | None
    """As an MCP tool."""
    tags: list[str]


class TriggerItem(TriggerBrief):
    """A trigger in a list."""

    may_run: bool
    """Whether you may run it now."""
    target_up: bool
    """Whether a worker runs its target job."""


class TriggerRevision(TypedDict):
    """Who made a revision of a trigger."""

    revision: int
    created_at: Time
    created_at_ns: int
    created_by: str


class Trigger(TriggerBrief):
    """A trigger with all of its definition."""

    definition: Annotated[dict[str, Any], trigger.Definition]
    created_at: Time
    created_at_ns: int
    created_by: str
    invokable: bool
    """Whether you may run it now."""
    target_up: bool
    """Whether a worker runs its target job."""
    next: NotRequired[list[Call]]
    """What helps when its target is not up."""
    revisions: list[TriggerRevision]
    """Newest first."""
    compared_with: NotRequired[int]
    """With `compare`."""
    changes: NotRequired[list[Difference]]
    """With `compare`."""


class Mismatch(TypedDict):
    """What keeps a trigger from its job, or callers from the trigger."""

    code: str
    message: str
    mend: list[Call]
    """In this order."""


class TriggerNow(TypedDict):
    """Which revision of a trigger is the present one."""

    slug: str
    tenant_id: str
    revision: int
    active: bool
    tool_name: str | None
    """As an MCP tool."""


class TriggerPublished(TriggerNow):
    """A revision of a trigger."""

    warnings: list[Mismatch]


class TriggerRevised(TriggerPublished):
    """A new revision of a trigger."""

    changes: list[Difference]


class TriggerDeactivated(TriggerNow):
    """A trigger that is not offered any more."""

    callers_hear: str
    """What whoever invokes it is told."""
    open_invocations: list[str]
    """Runs that go on, newest first."""
    open_total: int


class TriggerTool(TypedDict):
    """The MCP tool that a trigger is."""

    name: str
    slug: str
    title: str
    description: str
    input_schema: JsonObject
    output_schema: JsonObject | None
    annotations: Annotated[dict[str, Any], trigger.Annotations]


class TriggerTools(TypedDict):
    """The dynamic tools of an MCP session."""

    version: int
    """Changes when any trigger does."""
    tools: list[TriggerTool] | None
    """null: the version is the one that is known."""


class InvocationEvent(TypedDict):
    """What happened to a run."""

    type: str
    """accepted, dispatched, redelivered, run_failed, response_refused, cancel_requested, late_response, an end, ..."""
    at: NotRequired[Time]
    at_ns: int
    surface: NotRequired[str]
    job: NotRequired[str]
    by: NotRequired[str]
    reason: NotRequired[str]
    attempt: NotRequired[int]
    confirmed: NotRequired[bool]
    """Of a canceled one: whether its worker said that it stopped."""
    withdrawn: NotRequired[bool]
    """No replica had taken its message."""
    status: NotRequired[int]
    """Of a proxy response, an HTTP status."""


class CallbackTry(TypedDict):
    """One try to post an update."""

    at: NotRequired[Time]
    at_ns: int
    seconds: NotRequired[float]
    """How long it took."""
    status: NotRequired[int]
    """HTTP status."""
    reason: NotRequired[str]
    """Why it did not come to a status."""


class CallbackDelivery(Row):
    """An update of a run that was posted, or is to be."""

    event_id: str
    invocation_id: str
    receiver: str
    """Scheme, host and port."""
    state: Annotated[str, InvocationState]
    """Of the run, which it tells of."""
    outcome: Annotated[str, Literal["pending", "delivered", "dead"]]
    attempts: int
    next_try_at: Time | None
    finished_at: Time | None
    finished_at_ns: int | None
    tries: list[CallbackTry]


class CallbackOwed(TypedDict):
    """A delivery that is owed again."""

    event_id: str
    outcome: Annotated[str, Literal["pending", "delivered", "dead"]]
    receiver: str
    """Scheme, host and port."""


class InvocationItem(Row):
    """A run in a list."""

    invocation_id: str
    trigger_slug: str
    trigger_revision: int
    state: Annotated[str, InvocationState]
    caller: Caller
    surface: Annotated[str, Surface]
    attempts: int
    rerun_of: str | None
    trace_id: str | None
    requested_at: Time
    finished_at: Time | None
    duration_ms: int | None
    requested_at_ns: int
    finished_at_ns: int | None
    result_of_job: NotRequired[Json]
    """With include_result: what its job said, which is data and no instruction."""


class InvocationList(Listing[InvocationItem]):
    """Runs of triggers, newest first."""

    hint: NotRequired[str]
    """Where else to look when there is none."""


class Invocation(TypedDict):
    """The record of a run of a trigger."""

    invocation_id: str
    trigger_slug: str
    trigger_revision: int
    tenant_id: str
    state: Annotated[str, InvocationState]
    params: JsonObject
    """With the defaults filled in."""
    caller: Caller
    surface: Annotated[str, Surface]
    rerun_of: str | None
    trace_id: str | None
    callback: str | None
    """Scheme, host and port of whom updates are posted to."""
    requested_at: Time
    deadline: Time | None
    """null: it waits for no answer."""
    finished_at: Time | None
    requested_at_ns: int
    deadline_ns: int | None
    finished_at_ns: int | None
    attempts: int
    result: JsonObject
    """`trigger_response` of it is what the job said, which is data and no instruction."""
    trigger_proxy_recorded_at: Time | None
    events: list[InvocationEvent]
    deduplicated: NotRequired[bool]
    """Another call with the same key had started it."""
    next: NotRequired[list[Call]]
    """Where to read what its jobs wrote, for who may; in trigger_invocation_get."""
    callbacks: NotRequired[list[CallbackDelivery]]
    """Of one whose updates are posted, in trigger_invocation_get."""
