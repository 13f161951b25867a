"""Who may be connected: how many, who makes room, who is sent away, and what is told of it."""

from __future__ import annotations

import ast
import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from core import accepting
from core.accepting import Guest, Reason, Room
from core.settings import Settings
from mcp_server.http import serving
from tests import sources, waiting

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[1]
Left = list[tuple[str, Reason]]  # who was sent away, and why


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def visitor(room: Room, address: str, left: Left, name: str = "") -> Guest:
    guest = room.admit(address)
    assert guest is not None
    guest.leave = lambda reason: left.append((name or address, reason))
    return guest


async def test_a_full_address_makes_room_with_its_own_that_has_waited_longest(clock: Clock) -> None:
    left: Left = []
    room = Room("http", 10, 3, clock)
    first, second, _ = (visitor(room, "a", left, name) for name in ("one", "two", "three"))
    other = visitor(room, "b", left)
    first.works()
    first.waits()  # it has just been answered, so the second one has waited longer
    visitor(room, "a", left, "four")
    assert left == [("two", Reason.MADE_ROOM)]
    second.gone()  # the end of its connection changes nothing any more
    assert room.open == 4
    other.gone()
    assert room.open == 3
    room.close()


async def test_of_a_full_room_the_address_with_the_most_connections_makes_room(clock: Clock) -> None:
    left: Left = []
    room = Room("http", 4, 4, clock)
    visitor(room, "b", left)
    for _ in range(3):
        visitor(room, "a", left)
    visitor(room, "c", left)
    assert left == [("a", Reason.MADE_ROOM)]
    room.close()


async def test_who_is_at_work_is_not_sent_away_and_the_next_one_is_refused(clock: Clock) -> None:
    left: Left = []
    room = Room("http", 3, 2, clock)
    guests = [visitor(room, address, left) for address in ("a", "a", "b")]
    for guest in guests:
        guest.works()
    assert room.admit("a") is None
    assert room.admit("b") is None
    assert (left, room.refused) == ([], {Reason.ADDRESS: 1, Reason.TOTAL: 1})
    guests[2].gone()
    assert room.admit("b") is not None
    room.close()


async def test_who_says_nothing_in_time_is_sent_away(clock: Clock) -> None:
    left: Left = []
    room = Room("http", 9, 9, clock)
    visitor(room, "a", left, "silent")
    visitor(room, "a", left, "at work").works()
    clock.now += accepting.PATIENCE_SECONDS - 1
    visitor(room, "b", left, "new")
    clock.now += 1
    room.sweep()
    assert left == [("silent", Reason.SLOW)]
    room.close()


async def test_a_burst_is_one_line_of_the_log_and_the_next_one_tells_how_many_there_were(clock: Clock) -> None:
    room = Room("http", 1, 1, clock)
    visitor(room, "a", []).works()
    with structlog.testing.capture_logs() as lines:
        for _ in range(1000):
            assert room.admit("b") is None
        clock.now += accepting.QUIET_SECONDS
        assert room.admit("b") is None
    assert [(line["event"], line["reason"], line["count"]) for line in lines] == [
        ("connections_refused", "total", 1),
        ("connections_refused", "total", 1000),
    ]
    assert room.refused[Reason.TOTAL] == 1001
    room.close()


async def test_without_a_file_left_it_pauses_counts_and_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    left: Left = []
    room = Room("http", 9, 9)
    visitor(room, "a", left)
    with serving.bind("127.0.0.1", 0) as listener:
        door = accepting.Acceptor(listener, room, lambda guest: pytest.fail("nobody can come in"))

        class Spent:
            fileno = listener.fileno

            def accept(self) -> None:
                raise OSError(24, "Too many open files")

        monkeypatch.setattr(door, "_listener", Spent())
        door._ready()
        assert (room.refused[Reason.FILES], left) == (1, [("a", Reason.MADE_ROOM)])
        door.close()
        await door.wait_closed()
    room.close()


def test_an_ipv6_network_is_one_address() -> None:
    with socket.socket(socket.AF_INET6) as six, socket.socket() as four:
        assert accepting.address_of(six, ("2001:db8:0:1:2:3:4:5", 1, 0, 0)) == "2001:db8:0:1::/64"
        assert accepting.address_of(six, ("fe80::1%lo", 1, 0, 1)) == "fe80::/64"
        assert accepting.address_of(six, ("::ffff:10.0.0.1", 1, 0, 0)) == "10.0.0.1"
        assert accepting.address_of(four, ("10.0.0.1", 1)) == "10.0.0.1"


@pytest.fixture
def few_files() -> Iterator[int]:
    """A soft limit that is below the hard one; what the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 300), hard))
    yield accepting.MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, accepting.MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_soft_limit_of_files_is_raised_and_half_of_it_is_for_others(few_files: int) -> None:
    room = serving.room(Settings(http_connections=1_000_000))
    assert (room.most, room.most_per_address) == (few_files // 2, few_files // 8)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= few_files
    room = serving.room(Settings(http_connections=8, http_connections_per_address=8))
    assert (room.most, room.most_per_address) == (8, 8)


def test_every_listening_socket_of_the_engine_and_its_doors_is_behind_a_room() -> None:
    """Inputs of jobs listen in worker processes, with bounds of their own (`max-connections`)."""
    accepts = {"accept", "create_server", "create_unix_server", "start_server", "start_unix_server"}
    found = {
        str(path.relative_to(ROOT))
        for words in ("accept(", "_server(")
        for path, tree in sources.trees(*sources.PRODUCT, word=words)
        if "dsl" not in path.parts
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in accepts
        if node.func.attr != "accept" or not node.args  # of a socket, not of an output
    }
    assert found == {"core/accepting.py", "core/guard/listen.py"}, "guard/listen: with which inputs of jobs listen"


async def test_who_moves_too_slowly_is_sent_away_and_who_is_fast_enough_never(clock: Clock) -> None:
    left: Left = []
    room = Room("http", 9, 9, clock)
    slow, fast = (visitor(room, "a", left, name) for name in ("slow", "fast"))
    slow.moves(lambda: 1)
    fast.moves(lambda: int(clock.now - 100) * accepting.LEAST_BYTES_A_SECOND)
    for _ in range(30):
        clock.now += 1
        room.sweep()
    assert left == [("slow", Reason.SLOW)]
    fast.works()
    clock.now += 100
    room.sweep()
    assert len(left) == 1
    room.close()


async def test_a_room_full_of_requests_on_their_way_ends_the_slowest_of_the_greediest_address(
    clock: Clock,
) -> None:
    left: Left = []
    room = Room("http", 4, 3, clock)
    for number in (3, 1, 2):
        visitor(room, "a", left, f"a{number}").moves(lambda number=number: number * 1000)  # type: ignore[misc]
    visitor(room, "b", left).moves(lambda: 0)
    assert room.admit("c") is None, "nobody is slow yet"
    clock.now += 1
    for address in ("c", "a"):
        visitor(room, address, left, address).works()
    assert left == [("a1", Reason.MADE_ROOM), ("a2", Reason.MADE_ROOM)]
    room.close()


async def test_a_process_of_another_user_is_not_let_in_whatever_the_mode_of_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, entered = Room("engine.sock", 10, 10), []

    def protocol(guest: Guest) -> asyncio.Protocol:
        entered.append(guest)
        return asyncio.Protocol()

    async def knock(user: int) -> None:
        monkeypatch.setattr(accepting, "user_of", lambda connection: user)
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "sock"))
        if user not in (0, os.geteuid()):
            assert await reader.read() == b""
        else:
            await waiting.until(lambda: entered)
        writer.close()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        listener.listen()
        listener.setblocking(False)
        server = accepting.Acceptor(listener, room, protocol)
        try:
            async with asyncio.timeout(10):
                await knock(os.geteuid() + 4242)
                assert not entered and room.refused[Reason.USER] == 1
                await knock(os.geteuid())
                assert len(entered) == 1
        finally:
            server.close()
            await server.wait_closed()


def test_who_is_at_the_other_end_is_told_by_the_kernel() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert accepting.user_of(ours) == os.geteuid()
