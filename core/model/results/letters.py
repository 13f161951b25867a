"""Dead letters: events that jobs refused."""

from typing import Annotated, TypedDict

from core.model import letter
from core.model.results.basics import Json, Listing, Row, Time
from core.model.results.schemas import Called
from core.model.results.workloads import Letters

LetterCode = Annotated[letter.Code, Called("LetterCode")]
LetterStatus = Annotated[letter.Status, Called("LetterStatus")]


class LetterItem(Row):
    """A dead letter without its event."""

    id: str
    at: Time
    job: str
    version: str
    deployment: str | None
    workload: str
    run: str | None
    invocation: str | None
    step: str
    """JSON Pointer into the document of the job."""
    component: str
    code: Annotated[str, LetterCode]
    reason: str
    status: Annotated[str, LetterStatus]
    attempts: int
    """How often the event was refused at its step."""
    tried_at: Time
    truncated: bool
    """Its event was cut."""
    redacted: bool
    """A secret was taken out of it."""


class Letter(LetterItem):
    """A dead letter with its event."""

    event: Json
    """The event as it was at that step; the beginning of its text when it was cut; null: there is none."""
    replayable: bool
    obstacle: str | None
    """Why it cannot be replayed."""


class LetterList(Listing[LetterItem]):
    """Dead letters, newest first."""

    box: Letters


class LettersDiscarded(TypedDict):
    """How many letters went."""

    discarded: int
    replaying: int
    """They are being replayed, and stay."""


class LettersReplayed(TypedDict):
    """What became of letters that were replayed."""

    replayed: int
    refused: int
    """Again, with one attempt more."""
    not_now: int
    """Not tried, or cut short by a fault that `reason` tells."""
    not_replayable: int
    replaying: int
    """Under way still."""
    reason: str | None
