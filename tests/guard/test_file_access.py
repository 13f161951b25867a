from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import socket
import threading
from pathlib import Path

import pytest

from core import filesystems
from core.errors import Forbidden, JobFailed
from core.fileroots import FileMode
from core.guard import file_access, nofollow
from core.guard.file_access import FileAccess, check_name
from core.guard.filepolicy import FilePolicy
from core.guard.pathrules import ANYWHERE
from tests import cases, figures
from tests.filepolicies import EVERYWHERE, everywhere, only


@pytest.fixture(params=["kernel", "walk"])
def access(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FileAccess:
    """Both ways of opening: openat2, and the walk for kernels without it."""
    if request.param == "kernel" and not nofollow.KERNEL_CHECKS:
        pytest.skip("this kernel has no openat2")
    monkeypatch.setattr(nofollow, "KERNEL_CHECKS", request.param == "kernel")
    return FileAccess(EVERYWHERE, "acme")


def content(access: FileAccess, path: Path) -> bytes:
    fd = access.open_read(str(path))
    try:
        return os.read(fd, 1000)
    finally:
        os.close(fd)


def test_a_regular_file_is_read_and_appended_to(access: FileAccess, tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "out.log"
    for part in (b"one\n", b"two\n"):
        fd = access.open_append(str(target))
        os.write(fd, part)
        os.close(fd)
    assert content(access, target) == b"one\ntwo\n"


@cases.table(
    "path",
    [
        "../x",
        "a/../../x",
        "/tmp/../etc/passwd",
        "",
        "a\0b",
        "x/" * 3000,
        "/proc/self/environ",
        "/sys/kernel",
        "/dev/zero",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused_without_looking_at_the_disk(path: str) -> None:
    with pytest.raises(Forbidden):
        ANYWHERE.locate(path)


@cases.table(
    "name",
    [
        "",
        "/abs",
        "../x",
        "a/../x",
        "a/./x",
        "a//b",
        "%2e%2e/x",
        "a\\b",
        "C:\\x",
        "a\0b",
        "a\nb",
        "x ",
        "dots.",
        "n" * 256,
    ],
)
def test_an_object_name_that_could_mean_another_place_is_refused(name: str) -> None:
    with pytest.raises(Forbidden, match="the name"):
        check_name(name)


def test_names_with_directories_and_foreign_letters_are_fine() -> None:
    assert check_name("2026/11/Größe-1.json") == "2026/11/Größe-1.json"


def test_a_symbolic_link_is_never_followed(access: FileAccess, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "directory").symlink_to(tmp_path)
    for path in ("link", "dangling", "directory/secret"):
        with pytest.raises(Forbidden, match="symbolic link"):
            access.open_read(str(tmp_path / path))
    with pytest.raises(Forbidden):
        access.open_append(str(tmp_path / "link"))
    assert (tmp_path / "secret").read_text() == "s"


def test_a_file_with_two_names_is_refused_and_not_emptied(access: FileAccess, tmp_path: Path) -> None:
    (tmp_path / "database").write_text("rows")
    os.link(tmp_path / "database", tmp_path / "innocent.log")
    with pytest.raises(Forbidden, match="more than one name"):
        access.open_read(str(tmp_path / "innocent.log"))
    with pytest.raises(Forbidden, match="more than one name"):
        access.open_append(str(tmp_path / "innocent.log"), truncate=True)
    assert (tmp_path / "database").read_text() == "rows"


def test_fifos_sockets_and_directories_are_refused_without_waiting(access: FileAccess, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for name in ("fifo", "socket"):
            with pytest.raises(Forbidden, match="not a regular file"):
                access.open_read(str(tmp_path / name))
    with pytest.raises(Forbidden, match="not a regular file"):
        access.open_append(str(tmp_path / "fifo"))
    with pytest.raises((Forbidden, JobFailed)):
        access.open_append(str(tmp_path))


def test_what_is_denied_is_closed_by_name_by_link_and_below(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "state").mkdir(parents=True)
    (home / "sluice.db").write_text("rows")
    access = FileAccess(everywhere("", home), "acme")
    for path in (home, home / "sluice.db", home / "state" / "x"):
        with pytest.raises(Forbidden, match="which no job may enter"):
            access.locate(str(path))
    (tmp_path / "alias").symlink_to(home)
    with pytest.raises((Forbidden, JobFailed)):
        access.open_read(str(tmp_path / "alias" / "sluice.db"))
    assert access.locate(str(tmp_path / "home2" / "x")) == str(tmp_path / "home2" / "x")


def test_what_is_denied_or_private_is_closed_under_another_name_too(tmp_path: Path) -> None:
    """A bind mount gives another name without a link; moving does the same to who has looked before."""
    (tmp_path / "home").mkdir()
    (tmp_path / "tls.key").write_text("key")
    policy = dataclasses.replace(everywhere("", tmp_path / "home"), private=(str(tmp_path / "tls.key"),))
    access = FileAccess(policy, "acme")
    with pytest.raises(Forbidden, match="a private file of the engine's side"):
        access.locate(str(tmp_path / "tls.key"))
    (tmp_path / "home").rename(tmp_path / "other")
    (tmp_path / "tls.key").rename(tmp_path / "innocent.txt")
    with pytest.raises(Forbidden, match="closed to jobs, under whatever name"):
        access.directory(str(tmp_path / "other"))
    for opened in (access.open_read, access.open_append):
        with pytest.raises(Forbidden, match="private file of the engine's side, under whatever name"):
            opened(str(tmp_path / "innocent.txt"))
    assert (tmp_path / "innocent.txt").read_text() == "key"


def test_a_file_of_the_kernel_is_refused_wherever_it_is_mounted(
    access: FileAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    assert content(access, tmp_path / "file") == b"x"
    for number in filesystems.KERNEL:
        monkeypatch.setattr(filesystems, "kind", lambda place, number=number: number)
        with pytest.raises(Forbidden, match="is not a file of a disk"):
            access.open_read(str(tmp_path / "file"))


def test_file_systems_are_told_apart_by_what_they_are() -> None:
    with Path("/proc/self/status").open("rb") as file:
        assert filesystems.KERNEL[filesystems.kind(file.fileno())] == "proc"
    assert filesystems.KERNEL[filesystems.kind(Path("/proc"))] == "proc"
    assert filesystems.kind(Path(__file__)) not in filesystems.KERNEL


def test_the_data_directory_of_a_tenant_is_made_for_it_alone_when_it_is_written_to(tmp_path: Path) -> None:
    root = tmp_path / "data"
    access = FileAccess(FilePolicy(FileMode.TENANT, str(root)), "acme")
    with pytest.raises(file_access.NotThere):
        access.directory("in")
    assert not root.exists()
    os.close(access.open_append("out/day.log"))
    assert (root / "acme" / "out" / "day.log").exists()
    assert [(root / way).stat().st_mode & 0o777 for way in ("", "acme")] == [0o700, 0o700]


def test_a_file_root_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    access = FileAccess(only(tmp_path / "later"), "acme")
    with pytest.raises(file_access.NotThere, match="later does not exist"):
        access.open_append(str(tmp_path / "later" / "x"))


def test_nothing_is_made_changed_or_deleted_in_what_can_only_be_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("x")
    access = FileAccess(only(f"{tmp_path}/in:ro"), "acme")
    assert content(access, tmp_path / "in" / "file") == b"x"
    with access.directory(str(tmp_path / "in")) as directory:
        for change in (
            lambda: directory.open_append("file", truncate=True),
            lambda: directory.open_append("new"),
            lambda: directory.write("file", b"y"),
            lambda: directory.write("a/b", b"y"),
            lambda: directory.remove("file"),
            lambda: directory.directory("new", create=True),
            lambda: access.open_append(f"{tmp_path}/in/new"),
            lambda: access.directory(f"{tmp_path}/in/new", create=True),
        ):
            with pytest.raises(Forbidden, match="can only be read"):
                change()
    assert {file.name: file.read_text() for file in (tmp_path / "in").iterdir()} == {"file": "x"}


def test_what_is_missing_is_told_with_its_path(access: FileAccess, tmp_path: Path) -> None:
    with pytest.raises(file_access.NotThere, match="does not exist"):
        access.open_read(str(tmp_path / "nothing"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(file_access.NotADirectory, match="is not a directory"):
        access.directory(str(tmp_path / "file"))


def test_whole_files_are_replaced_in_one_step_and_leave_nothing_behind(access: FileAccess, tmp_path: Path) -> None:
    with access.directory(str(tmp_path / "store"), create=True) as directory:
        directory.write("a/b/one", b"1")
        directory.write("a/b/one", b"22")
        directory.write("two", b"2")
        assert [(name, status.st_size) for name, status in directory.files()] == [("a/b/one", 2), ("two", 1)]
        assert directory.remove("a/b/one")
        assert not directory.remove("a/b/one")
        assert not directory.remove("no/such/way")
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["two"]


def test_a_write_that_fails_leaves_the_old_file_and_no_temporary_one(access: FileAccess, tmp_path: Path) -> None:
    with access.directory(str(tmp_path)) as directory:
        directory.write("x", b"old")
        with pytest.raises(RuntimeError, match="stop"), directory.writer("x") as out:
            out.write(b"new")
            raise RuntimeError("stop")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"x": b"old"}


def test_a_listing_leaves_out_links_fifos_and_half_written_files(access: FileAccess, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / f".abc{file_access.TEMPORARY_SUFFIX}").write_text("half")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path)
    with access.directory(str(tmp_path)) as directory:
        assert [name for name, _ in directory.files()] == ["real"]


@pytest.mark.parametrize("rounds", [100, pytest.param(10_000, marks=pytest.mark.soak)])
def test_a_link_that_is_swapped_in_during_writing_never_leads_out(
    access: FileAccess, tmp_path: Path, rounds: int, record_property: figures.Recorder
) -> None:
    figures.record(record_property, rounds=rounds)
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "day").mkdir(parents=True)
    outside.mkdir()
    stop = threading.Event()

    def swap() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            with contextlib.suppress(OSError):  # the writer makes the directory again whenever it is missing
                (root / "day").rename(root / f"aside{number}")
                (root / "day").symlink_to(outside)
                (root / "day").unlink()

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(rounds):
            try:
                with access.directory(str(root)) as directory:
                    directory.write(f"day/{number}", b"x")
            except (Forbidden, JobFailed):
                continue
    finally:
        stop.set()
        thread.join()
    assert list(outside.iterdir()) == []
