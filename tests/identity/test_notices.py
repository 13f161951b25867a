"""Who hears a notice: whoever could ask an operation for the same, whatever his scopes, and nobody else."""

from __future__ import annotations

import ast
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.model import notices, scopes
from core.model.principal import PLATFORM, Caller, Principal, Role
from core.operations import REGISTRY
from mcp_server import attach
from mcp_server.http import sessions, streams
from tests import cases, sources

CORE = Path(notices.__file__).parents[1]
USER = Caller(Principal("bob", Role.USER, ("tenant-a",)), "tenant-a")
SCOPES = [
    (),
    ("read",),
    ("trigger:x",),
    ("trigger:y",),
    *sorted({(f"toolset:{operation.toolset}",) for operation in REGISTRY}),
    *[(f"operation:{operation.name}",) for operation in REGISTRY],
]


def scoped(*own: str) -> Caller:
    return replace(USER, principal=replace(USER.principal, scopes=own))


def announced() -> set[str]:
    """The topics that the engine announces, as its source says."""
    found = set()
    for path, tree in sources.trees(CORE, word="announce("):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("announce", "_announce"):
                assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno} hides its topic"
                found.add(str(node.args[0].value))
    return found


def test_everything_that_is_announced_has_a_rule() -> None:
    assert announced() == set(notices.TOPICS)
    assert set(attach.KINDS) == set(notices.TOPICS), "what an attached door is told"
    for topic in notices.TOPICS.values():
        assert all(name in REGISTRY for name in topic.operations)
        assert all(
            REGISTRY[name].role is Role.VIEWER or "apply" in name or "reconcile" in name for name in topic.operations
        )


def test_what_has_no_rule_is_heard_by_nobody() -> None:
    everybody = Caller(Principal("op", Role.ADMIN, ("*",), platform=True))
    assert not notices.hears(REGISTRY, everybody, "gossip", {"tenant": "default"})
    assert not notices.hears(REGISTRY, everybody, "tokens", {"id": "tok_1"})


@cases.table("topic", sorted(notices.TOPICS))
def test_a_notice_is_heard_by_who_may_ask_for_the_same(topic: str) -> None:
    for own, slug in itertools.product(SCOPES, ("x", "y", "")):
        caller = scoped(*own)
        asks = any(
            REGISTRY[name].allows(Role.USER)
            and (
                scopes.may_see_runs(own, slug)
                if name == "trigger_invocation_get"
                else scopes.permits(own, REGISTRY[name], {})
            )
            for name in notices.TOPICS[topic].operations
        )
        assert notices.hears(REGISTRY, caller, topic, {"tenant": "tenant-a", "slug": slug}) is asks
        assert not notices.hears(REGISTRY, caller, topic, {"tenant": "tenant-b", "slug": slug})


def test_what_a_trigger_key_hears_of_runs_is_about_its_trigger() -> None:
    heard = [
        slug
        for slug in ("x", "y", "")
        if notices.hears(REGISTRY, scoped("trigger:x"), "invocation", {"tenant": "tenant-a", "slug": slug})
    ]
    assert heard == ["x"]
    for topic in set(notices.TOPICS) - {"invocation", "registry"}:
        assert not notices.hears(REGISTRY, scoped("trigger:x"), topic, {"tenant": "tenant-a", "slug": "x"})


@cases.table("topic", sorted(notices.TOPICS))
def test_of_the_platform_everyone_hears_what_is_shared_and_its_principals_the_rest(topic: str) -> None:
    operator = replace(USER, principal=Principal("op", Role.ADMIN, ("tenant-a",), platform=True))
    data: dict[str, Any] = {"tenant": PLATFORM, "slug": "x", "name": "d"}
    assert notices.hears(REGISTRY, USER, topic, data) is notices.TOPICS[topic].shared
    assert notices.hears(REGISTRY, operator, topic, data) is bool(notices.TOPICS[topic].operations)


def test_every_stream_is_like_an_operation_that_tells_of_its_topic() -> None:
    for feed in streams.FEEDS:
        assert not feed.topic or feed.operation in notices.TOPICS[feed.topic].operations
    assert [feed.name for feed in streams.FEEDS if not feed.topic] == ["log_subscribe"]
    assert set(notices.TOPICS) >= sessions.KINDS
    assert streams.ONE in notices.TOPICS["invocation"].operations
