"""The home directory: one owner, refusals in plain words, take-over after a death."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from core import channel, errors, filesystems, ownership
from tests import waiting


def test_a_new_home_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    home = ownership.prepare(tmp_path / "deep" / "home")
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_home_that_others_can_write_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    with pytest.raises(errors.StorageUnavailable) as caught:
        ownership.prepare(home)
    assert "0777" in caught.value.message
    assert caught.value.hint == f"chmod 700 {home}"


@pytest.mark.root
def test_a_home_of_another_user_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, 12345, 12345)
    with pytest.raises(errors.StorageUnavailable, match="belongs to user id 12345"):
        ownership.prepare(home)


@pytest.mark.parametrize("magic", [0x6969, 0x517B, 0xFF534D42, 0x01021997])
def test_a_home_on_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, magic: int
) -> None:
    monkeypatch.setattr(filesystems, "kind", lambda path: magic)
    with pytest.raises(errors.StorageUnavailable, match="network file system"):
        ownership.prepare(tmp_path / "home")


def test_a_file_in_the_place_of_the_home_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("not a directory")
    with pytest.raises(errors.StorageUnavailable):
        ownership.prepare(tmp_path / "home")


def test_the_lock_has_one_holder_and_is_free_after_release(tmp_path: Path) -> None:
    home = ownership.prepare(tmp_path / "home")
    first = ownership.acquire(home)
    assert first is not None
    assert ownership.acquire(home) is None
    assert ownership.owner_pid(home) == os.getpid()
    first.release()
    first.release()
    second = ownership.acquire(home)
    assert second is not None
    second.release()


def test_a_lock_file_that_is_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    home = ownership.prepare(tmp_path / "home")
    (home / "engine.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        ownership.acquire(home)
    assert not (tmp_path / "elsewhere").exists()


def test_the_lock_is_free_at_once_after_its_holder_was_killed(tmp_path: Path) -> None:
    home = ownership.prepare(tmp_path / "home")
    code = (
        "import sys, time, pathlib\nfrom core import ownership\n"
        "o = ownership.acquire(pathlib.Path(sys.argv[1])); o.listen(); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert ownership.acquire(home) is None
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    owned = ownership.acquire(home)
    assert owned is not None
    assert (home / "engine.sock").exists(), "the stale socket of the dead owner"
    owned.listen()
    owned.release()


@pytest.mark.anyio
async def test_an_owner_leaves_a_sign_of_life_and_who_only_looks_in_leaves_none(tmp_path: Path) -> None:
    home = ownership.prepare(tmp_path / "home")
    owned = ownership.acquire(home)
    assert owned is not None and owned.alive_ns == 0, "nobody was here"
    owned.name("home_1")
    os.utime(owned.lock, ns=(1_000, 1_000))
    beats = asyncio.ensure_future(owned.keep_alive())
    seen = await waiting.until(lambda: owned.lock.stat().st_mtime_ns, lambda at: at > 1_000)
    beats.cancel()
    owned.release()
    for _ in range(2):
        owned = ownership.acquire(home)
        assert owned is not None and owned.alive_ns == seen
        owned.release()


@pytest.mark.anyio
async def test_a_caller_attaches_to_the_owner_and_takes_over_when_it_is_gone(tmp_path: Path) -> None:
    home = tmp_path / ("deep" * 20) / ("nested" * 10) / "home"  # longer than a socket path may be
    owned = await ownership.own_or_connect(home)
    assert isinstance(owned, ownership.Ownership)

    async def echo(link: channel.Channel, name: str, args: object) -> object:
        return [name, args]

    loop_server = await asyncio.get_running_loop().create_unix_server(
        lambda: channel.Channel(on_call=echo), sock=owned.listen()
    )
    assert (home / "engine.sock").stat().st_mode & 0o777 == 0o600
    with anyio.fail_after(5):
        link = await ownership.own_or_connect(home)
        assert isinstance(link, channel.Channel)
        assert await link.call("hello", {"a": 1}) == ["hello", {"a": 1}]
        await link.close()
        loop_server.close()
        owned.release()
        again = await ownership.own_or_connect(home)
    assert isinstance(again, ownership.Ownership)
    again.release()


def test_sockets_of_unrelated_processes_are_not_the_engine(tmp_path: Path) -> None:
    home = ownership.prepare(tmp_path / "home")
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(str(home / "engine.sock"))  # bound, but nobody listens
        owned = ownership.acquire(home)
        assert owned is not None
        owned.listen()
        owned.release()
