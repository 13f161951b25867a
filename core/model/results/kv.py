"""The KV store of the workers."""

from typing import Annotated, Literal, NotRequired, TypedDict

from core.model.results.basics import Json, Page, Row, Time


class KvNamespace(Row):
    """A namespace that holds something, with its queue."""

    namespace: str
    depth: int
    """Items that wait."""
    leased: int
    dead: int
    """Items that were handed out too often."""


class KvNamespaces(Page[KvNamespace]):
    """Namespaces, and how much all of them keep."""

    used_bytes: int
    most_bytes: int | None
    """null: as much as there is room for."""


class KvEntry(Row):
    """A value in a list."""

    key: str
    value: str
    """Its beginning."""
    characters: int
    """Of the whole value."""
    revision: int
    expires_at: Time | None


class KvValue(TypedDict):
    """What is kept under a key."""

    namespace: str
    key: str
    value: NotRequired[Json]
    """This and what follows is missing when the key has a set alone."""
    format: NotRequired[Annotated[str, Literal["json", "raw-string"]]]
    revision: NotRequired[int]
    expires_at: NotRequired[Time | None]
    members: list[str]
    """Of its set."""


class KvSet(TypedDict):
    """A value that was to be set."""

    namespace: str
    key: str
    done: bool
    """false: it was at another revision."""
    revision: int
    """What is there now."""


class KvDeleted(TypedDict):
    """A key that was to be deleted."""

    namespace: str
    key: str
    done: bool
    """Whether there was anything."""


class KvChange(TypedDict):
    """A key that has changed, in its last state."""

    key: str
    deleted: bool
    value: NotRequired[str]
    """Its beginning; this and what follows is missing when it is deleted."""
    characters: NotRequired[int]
    revision: NotRequired[int]
    expires_at: NotRequired[Time | None]


class KvChanges(TypedDict):
    """What has changed since the answer before."""

    watch: str
    """Pass it back within two minutes."""
    items: list[KvChange]
    lagged: bool
    """More has changed than this tells: kv_list."""


class KvDeadItem(TypedDict):
    """An item that was handed out too often."""

    value: str
    """Its beginning."""
    characters: int
    """Of the whole value."""
    attempts: int


class KvQueue(KvNamespace):
    """The work queue of a namespace."""

    dead_items: list[KvDeadItem]
    """The oldest ones."""


class KvDeadEnded(TypedDict):
    """Dead items that were requeued or discarded."""

    namespace: str
    action: Annotated[str, Literal["requeue", "discard"]]
    items: int
