"""No credential is wider than the one that made it; the property is asked of what calls are permitted, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.model import grants, scopes
from core.model.grants import Grant
from core.model.principal import EVERY_TENANT, PLATFORM, Caller, Principal, Role, Surface
from core.operations import REGISTRY
from tests.engines import engine_on

SCOPES = ["read", "toolset:kv", "toolset:administration", "operation:token_create", "operation:kv_get", "trigger:x"]
TENANTS = ["tenant-a", "tenant-b", EVERY_TENANT]
GRANTS = st.builds(
    Grant,
    st.sampled_from(Role),
    st.frozensets(st.sampled_from(TENANTS), min_size=1),
    st.booleans(),
    st.frozensets(st.sampled_from(SCOPES), max_size=3),
    st.none() | st.integers(1, 5),
    st.dictionaries(st.sampled_from(TENANTS[:2]), st.sampled_from(Role), max_size=2),
)
CALLS = [(op, arguments) for op in REGISTRY for arguments in ({}, {"slug": "x"}, {"slug": "y"})]


def may(grant: Grant, now: int) -> set[Any]:
    """Everything that a credential opens at a time: calls in tenants."""
    if grant.ends_at_ns is not None and grant.ends_at_ns <= now:
        return set()
    caller = Caller(_principal(grant), "tenant-a")
    tenants = [tenant for tenant in ("tenant-a", "tenant-b", "tenant-c", PLATFORM) if caller.member_of(tenant)]
    return {
        (n, tenant)
        for tenant in tenants
        for n, (op, arguments) in enumerate(CALLS)
        if op.allows(grant.role_in(tenant)) and scopes.permits(tuple(grant.scopes), op, arguments)
    }


def _principal(grant: Grant, **more: Any) -> Principal:
    tenants, limits = tuple(sorted(grant.tenants)), tuple(sorted(grant.scopes))
    return Principal("ada", grant.role, tenants, grant.platform, limits, tuple(sorted(grant.roles.items())), **more)


@given(GRANTS, GRANTS)
def test_what_is_not_wider_may_nothing_that_the_other_may_not(child: Grant, parent: Grant) -> None:
    if not grants.wider(child, parent):
        for now in (0, 3):
            assert may(child, now) <= may(parent, now)


@given(GRANTS, GRANTS, GRANTS)
def test_it_is_an_order_below_what_the_owner_has(one: Grant, other: Grant, third: Grant) -> None:
    assert not grants.wider(one, one)
    assert not grants.wider(one, grants.EVERYTHING)
    if not grants.wider(one, other) and not grants.wider(other, third):
        assert not grants.wider(one, third)


@pytest.mark.parametrize(
    ("changed", "beyond"),
    [
        ({"role": Role.ADMIN}, "role"),
        ({"tenants": frozenset({"tenant-a", "tenant-b"})}, "tenants"),
        ({"tenants": frozenset({EVERY_TENANT})}, "tenants"),
        ({"platform": True}, "platform"),
        ({"scopes": frozenset()}, "scopes"),
        ({"scopes": frozenset({"read", "toolset:kv"})}, "scopes"),
        ({"ends_at_ns": 6}, "end"),
        ({"ends_at_ns": None}, "end"),
    ],
)
def test_each_right_is_looked_at_by_itself(changed: dict[str, Any], beyond: str) -> None:
    parent = Grant(Role.USER, frozenset({"tenant-a"}), False, frozenset({"read"}), 5)
    assert grants.wider(parent._replace(**changed), parent) == (beyond,)
    assert grants.may_act_as(parent, [parent._replace(**changed)]) is (beyond == "end")


@pytest.mark.anyio
async def test_the_operation_makes_exactly_what_the_rule_allows(tmp_path: Path) -> None:
    """token_create itself, over pairs of rights: what it makes is not wider, and what it refuses is."""
    every = [
        Grant(role, frozenset(tenants), platform, frozenset(limits), ends)
        for role in Role
        for tenants in (["tenant-a"], ["tenant-b"], ["tenant-a", "tenant-b"], [EVERY_TENANT])
        for platform in (False, True)
        for limits in ([], ["operation:token_create"], ["operation:token_create", "read"])
        for ends in (None, 600)
    ]
    refused = made = 0
    with anyio.fail_after(120):
        async with engine_on(tmp_path / "home", workers=0) as engine:
            for parent in every:
                if parent.role is not Role.ADMIN:
                    continue
                parent = parent._replace(ends_at_ns=parent.ends_at_ns and 3600)
                owner = Caller(_principal(grants.EVERYTHING), "tenant-a", Surface.CLI)
                key = await engine.call("token_create", _wanted(parent), owner)
                tenant = sorted(parent.tenants)[0]
                own = Caller(
                    _principal(parent, credential=key["id"]),
                    "tenant-a" if tenant == EVERY_TENANT else tenant,
                    Surface.HTTP,
                )
                for child in every[:: 1 if made == 0 else 5]:
                    try:
                        token = await engine.call("token_create", _wanted(child), own)
                    except (errors.Forbidden, errors.NotFound):
                        assert grants.wider(child, parent)
                        refused += 1
                    else:
                        ends = token["expires_at"]  # one that was wanted without an end ends with what makes it
                        wanted = child if child.ends_at_ns else child._replace(ends_at_ns=parent.ends_at_ns)
                        assert not grants.wider(wanted, parent)
                        assert parent.ends_at_ns is None or ends <= key["expires_at"]
                        made += 1
    assert made > 50 and refused > 300


def _wanted(grant: Grant) -> dict[str, Any]:
    wanted: dict[str, Any] = {"username": "ada", "role": grant.role, "platform": grant.platform}
    ends = {} if grant.ends_at_ns is None else {"expires_in_seconds": grant.ends_at_ns}
    return {**wanted, "tenants": sorted(grant.tenants), "scopes": sorted(grant.scopes), **ends}
