"""Signing in a program that has no browser: `sluice login URL`."""

from __future__ import annotations

from pydantic import Field

from core import clock
from core.engine import Engine
from core.identity import devices
from core.model import results
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.operations.registry import operation


class DeviceBegin(Params):
    name: str = Field(default="", max_length=100)
    """What the program calls itself, for whoever approves it."""


@operation(
    summary="Codes for a program that signs in.", http="", toolset="administration", tool=False, role=Role.VIEWER
)
async def login_device_begin(engine: Engine, caller: Caller, params: DeviceBegin) -> results.identity.DeviceBegan:
    """What the program keeps, and the code that it shows to whoever signs it in: {device_code, user_code, path,
    interval, expires_in}."""
    begun = engine.devices.begin(params.name)
    return {
        "device_code": begun.device_code,
        "user_code": begun.user_code,
        "path": f"/console/device?code={begun.user_code}",
        "interval": devices.POLL_SECONDS,
        "expires_in": devices.SECONDS,
    }


class DevicePoll(Params):
    device_code: str = Field(max_length=200)


@operation(
    summary="Whether a program is signed in.",
    http="",
    toolset="administration",
    effect=Effect.WRITE,
    tool=False,
    gated=False,
    role=Role.VIEWER,
    told_once=("access_token",),
)
async def login_device_poll(engine: Engine, caller: Caller, params: DevicePoll) -> results.identity.DevicePolled:
    """How it stands: {state: pending, slow_down or done}; when it is done {access_token, expires_at, username}, once.

    Raises Unauthenticated when it is over, Forbidden when it was refused.
    """
    found = await engine.devices.poll(params.device_code)
    if found.state != "done":
        return {"state": found.state}
    return {
        "state": found.state,
        "access_token": found.token,
        "username": found.username,
        "expires_at": clock.iso(found.ends_at_ns),
    }


class DeviceApprove(Params):
    user_code: str = Field(max_length=20)
    """The code that the program shows."""
    decision: devices.Decision = "approve"
    """approve, deny, or look: tell which program it is, and do nothing."""


@operation(
    summary="Let a program that shows a code act as you.",
    http="POST /api/login/device/approve",
    toolset="administration",
    effect=Effect.WRITE,
    tool=False,
    gated=False,
    role=Role.VIEWER,
)
async def login_device_approve(engine: Engine, caller: Caller, params: DeviceApprove) -> results.identity.DeviceNamed:
    """Sign in the program that shows this code, as who you are here and with your rights, for up to twelve hours; or
    refuse it: {name, decision}. Raises NotFound for a code that no program waits with."""
    if params.decision == "look":
        return {"name": engine.devices.find(caller, params.user_code), "decision": params.decision}
    name = await engine.devices.settle(caller, params.user_code, approve=params.decision == "approve")
    return {"name": name, "decision": params.decision}
