"""The local KV store against a plain model, with time as a value."""

from __future__ import annotations

from typing import Any

import sqlite_utils
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from core.model.kv import Op, Verb
from core.store import kv, migrations

SPACE = "t:n"
KEYS = st.sampled_from(["a", "ab", "b", "é"])
VALUES = st.sampled_from(["1", "2"])
TTLS = st.sampled_from([0, 0, 1, 5, 50])


class Model(RuleBasedStateMachine):
    """What the store should be: dictionaries, and lists of items in the order of arrival."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.db = sqlite_utils.Database(memory=True)
        self.db.conn.isolation_level = None
        migrations.migrate(self.db)
        self.now = 1_000
        self.values: dict[str, tuple[str, int, int | None]] = {}
        self.sets: dict[tuple[str, str], int | None] = {}
        self.items: list[dict[str, Any]] = []
        self.open: dict[str, tuple[int, int]] = {}  # lease -> (end, bound of attempts)
        self.revision = 0
        self.made = 0

    def teardown(self) -> None:
        self.db.close()

    def do(self, verb: Verb, key: str = "", value: str = "", ttl_ms: int = 0, revision: int = 0) -> Any:
        self.db.execute("BEGIN")
        try:
            done = kv.apply(self.db, SPACE, [Op(verb, key, value, ttl_ms, revision)], self.now)
        finally:
            self.db.execute("COMMIT")
        return done.results[0]

    def end(self, ttl_ms: int) -> int | None:
        return self.now + ttl_ms if ttl_ms else None

    def alive(self, end: int | None) -> bool:
        return end is None or end > self.now

    def value(self, key: str) -> tuple[str, int, int | None] | None:
        found = self.values.get(key)
        return found if found is not None and self.alive(found[2]) else None

    def put(self, key: str, value: str, ttl_ms: int) -> int:
        self.revision += 1
        self.values[key] = (value, self.revision, self.end(ttl_ms))
        return self.revision

    @rule(milliseconds=st.sampled_from([1, 4, 5, 49, 100]))
    def time_passes(self, milliseconds: int) -> None:
        self.now += milliseconds

    @rule()
    def prune(self) -> None:
        self.db.execute("BEGIN")
        kv.prune(self.db, self.now)
        self.db.execute("COMMIT")
        assert not kv.is_due(self.db, self.now)

    @rule(key=KEYS, value=VALUES, ttl_ms=TTLS)
    def set(self, key: str, value: str, ttl_ms: int) -> None:
        assert self.do(Verb.SET, key, value, ttl_ms).revision == self.put(key, value, ttl_ms)

    @rule(key=KEYS, value=VALUES, ttl_ms=TTLS)
    def set_if_absent(self, key: str, value: str, ttl_ms: int) -> None:
        there = self.value(key)
        result = self.do(Verb.SET_IF_ABSENT, key, value, ttl_ms)
        assert result.done == (there is None)
        assert result.revision == (there[1] if there is not None else self.put(key, value, ttl_ms))

    @rule(key=KEYS, value=VALUES, ttl_ms=TTLS)
    def acquire(self, key: str, value: str, ttl_ms: int) -> None:
        there = self.value(key)
        free = there is None or there[0] == value
        result = self.do(Verb.ACQUIRE, key, value, ttl_ms)
        assert result.done == free
        if free:
            assert result.revision == self.put(key, value, ttl_ms)

    @rule(key=KEYS, value=VALUES, ttl_ms=TTLS, stale=st.booleans())
    def compare_and_set(self, key: str, value: str, ttl_ms: int, stale: bool) -> None:
        there = self.value(key)
        present = there[1] if there is not None else 0
        result = self.do(Verb.COMPARE_AND_SET, key, value, ttl_ms, present + stale)
        assert result.done == (not stale)
        assert result.revision == (present if stale else self.put(key, value, ttl_ms))

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        members = [pair for pair, end in self.sets.items() if pair[0] == key and self.alive(end)]
        expected = self.value(key) is not None or bool(members)
        assert self.do(Verb.DELETE, key).done == expected
        self.values.pop(key, None)
        self.sets = {pair: end for pair, end in self.sets.items() if pair[0] != key}

    @rule(key=KEYS, member=VALUES, ttl_ms=TTLS)
    def add(self, key: str, member: str, ttl_ms: int) -> None:
        there = (key, member) in self.sets and self.alive(self.sets[key, member])
        assert self.do(Verb.ADD, key, member, ttl_ms).done == (not there)
        self.sets[key, member] = self.end(ttl_ms)

    @rule(key=KEYS, member=VALUES)
    def remove(self, key: str, member: str) -> None:
        there = (key, member) in self.sets and self.alive(self.sets[key, member])
        assert self.do(Verb.REMOVE, key, member).done == there
        self.sets.pop((key, member), None)

    @rule(value=VALUES)
    def push(self, value: str) -> None:
        self.do(Verb.PUSH, value=value)
        self.items.append({"value": value, "attempts": 0, "lease": None, "dead": False})

    @rule(target=leases, size=st.integers(1, 3), lease_ms=st.sampled_from([1, 5, 100]), bound=st.integers(1, 3))
    def pop(self, size: int, lease_ms: int, bound: int) -> Any:
        for lease, (end, most) in list(self.open.items()):
            if end <= self.now:
                self.give_back(lease, most)
        ready = [item for item in self.items if item["lease"] is None and not item["dead"]][:size]
        self.made += 1
        name = f"lease-{self.made}"
        self.db.execute("BEGIN")
        lease, next_end = kv.pop_batch(self.db, SPACE, size, lease_ms, bound, name, self.now)
        self.db.execute("COMMIT")
        if not ready:
            assert lease is None
            assert next_end == min((end for end, _ in self.open.values()), default=None)
            return multiple()
        assert lease is not None
        assert lease.expires_at_ms == self.now + lease_ms
        for item in ready:
            item["attempts"] += 1
            item["lease"] = name
        assert [(i.value, i.attempt) for i in lease.items] == [(i["value"], i["attempts"]) for i in ready]
        self.open[name] = (self.now + lease_ms, bound)
        return name

    def give_back(self, lease: str, most: int) -> int:
        del self.open[lease]
        held = [item for item in self.items if item["lease"] == lease]
        for item in held:
            item["lease"], item["dead"] = None, item["attempts"] >= most
        return len(held)

    @rule(lease=leases)
    def release(self, lease: str) -> None:
        end, most = self.open.get(lease, (0, 0))
        result = self.do(Verb.RELEASE, lease)
        assert result.done == (end > self.now)
        if result.done:
            assert result.affected == self.give_back(lease, most)

    @rule(lease=consumes(leases))
    def ack(self, lease: str) -> None:
        end, _ = self.open.get(lease, (0, 0))
        result = self.do(Verb.ACK, lease)
        assert result.done == (end > self.now)
        if result.done:
            del self.open[lease]
            left = [item for item in self.items if item["lease"] != lease]
            assert result.affected == len(self.items) - len(left)
            self.items = left

    @invariant()
    def reads_agree(self) -> None:
        expected = [(key, *found) for key in sorted(self.values) if (found := self.value(key)) is not None]
        listed = kv.listing(self.db, SPACE, "", "", 100, self.now)
        assert [tuple(entry) for entry in listed.entries] == expected
        below = kv.listing(self.db, SPACE, "a", "", 100, self.now)
        assert [entry.key for entry in below.entries] == [row[0] for row in expected if row[0].startswith("a")]
        for key in ("a", "ab", "b", "é"):
            found, got = self.value(key), kv.apply(self.db, SPACE, [Op(Verb.GET, key)], self.now).results[0]
            assert (got.value, got.revision) == ((found[0], found[1]) if found is not None else (None, 0))
            members = sorted(m for (k, m), end in self.sets.items() if k == key and self.alive(end))
            assert list(kv.apply(self.db, SPACE, [Op(Verb.MEMBERS, key)], self.now).results[0].members) == members

    @invariant()
    def depth_agrees(self) -> None:
        ready = leased = dead = 0
        for item in self.items:
            end, most = self.open.get(item["lease"], (0, 0))
            if item["dead"]:
                dead += 1
            elif item["lease"] is None:
                ready += 1
            elif end > self.now:
                leased += 1
            elif item["attempts"] >= most:
                dead += 1
            else:
                ready += 1
        assert tuple(kv.depth(self.db, SPACE, self.now)) == (ready, leased, dead)


TestModel = Model.TestCase
TestModel.settings = settings(stateful_step_count=40)
