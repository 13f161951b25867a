"""What a worker asks an engine for at the beginning of a line, and what it is answered (core.external.handshake)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from core import errors
from core.model.enrolment import TOKEN_PATTERN, Ability, EnrolmentState
from core.model.frames import PROTOCOL, protocol_fault
from core.model.worker_group import NAME_PATTERN

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Key = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Signature = Annotated[str, Field(pattern="^[0-9a-f]{128}$")]
CredentialId = Annotated[str, Field(pattern="^wrk_[0-9a-z]{1,32}$")]
Slots = Annotated[int, Field(ge=1, le=4096)]
Generation = Annotated[int, Field(ge=1, le=2**31)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)

    protocol: int = PROTOCOL
    proof: Signature
    """Of handshake.proof by the key that it speaks for."""


class Enrol(_Asked):
    """A credential for a key, for a token. Asking again with the same key gives the same credential."""

    purpose: Literal["enrol"] = "enrol"
    token: str = Field(pattern=TOKEN_PATTERN)
    name: Name | Literal[""]
    """That it must have; empty: what the token says, else `host`."""
    host: Name
    public_key: Key


class Rotate(_Asked):
    """Another key in the place of the present one, which `proof` is of."""

    purpose: Literal["rotate"] = "rotate"
    credential: CredentialId
    generation: Generation
    next_key: Key
    next_proof: Signature


class Join(_Asked):
    """To work: what follows on this line are records."""

    purpose: Literal["join"] = "join"
    credential: CredentialId
    generation: Generation
    slots: Slots
    instance: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    """Names the life of the program that joins: one that was followed by another does not come back."""


Asked = Enrol | Rotate | Join


class Enrolled(BaseModel):
    """What a worker keeps of its credential."""

    model_config = ConfigDict(defer_build=True)

    credential: CredentialId
    name: Name
    group: Name
    ephemeral: bool = False
    state: EnrolmentState
    generation: Generation


class Admitted(BaseModel):
    """Which rules hold for a session."""

    model_config = ConfigDict(defer_build=True)

    name: Name
    group: Name
    slots: Slots
    can: list[Ability]
    heartbeat_seconds: float
    drain_seconds: float


_ASKED: TypeAdapter[Asked] = TypeAdapter(Annotated[Asked, Field(discriminator="purpose")])


def read(letter: dict[str, Any]) -> Asked:
    """What a letter asks for. Raises InvalidParams."""
    if refused := protocol_fault(letter.get("protocol")):
        raise errors.InvalidParams(refused, hint="Install the same version of sluice-mcp on both machines.")
    try:
        return _ASKED.validate_python(letter)
    except ValidationError as fault:
        first = fault.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"][1:])) or "the request"
        raise errors.InvalidParams(f"{where}: {first['msg']}.") from None


def refusal(error: errors.SluiceError) -> dict[str, Any]:
    """The answer to what is refused."""
    return {"error": error.to_dict()}


def granted(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer that is no refusal. Raises what was refused."""
    if "error" in answer:
        raise errors.from_dict(answer["error"])
    return answer
