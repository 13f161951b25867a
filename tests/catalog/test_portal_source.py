"""The files of a portal: read from a directory and over real HTTPS, and never from anywhere else."""

from __future__ import annotations

import gzip
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import errors
from core.catalog import portal_source
from core.catalog.portal import MAX_INDEX_BYTES
from core.catalog.portal_source import Directory, Web
from core.guard import egress
from tests.portals import Server, https, write_index

pytestmark = pytest.mark.anyio
LOOPBACK = ("127.0.0.1/32",)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "portal"
    (folder / "sub").mkdir(parents=True)
    write_index(folder)
    (folder / "sub" / "item.yaml").write_text("hello", encoding="utf-8")
    (tmp_path / "secret.yaml").write_text("secret", encoding="utf-8")
    return folder


@pytest.fixture
def served(root: Path, tmp_path: Path) -> Any:
    with https(root, tmp_path / "tls") as server:
        yield server


@pytest.fixture
async def web(served: Server) -> AsyncIterator[Callable[..., Web]]:
    opened: list[egress.Egress] = []

    def make(location: str = "", ca: Path | None = served.certificate, allow: tuple[str, ...] = LOOPBACK) -> Web:
        opened.append(egress.Egress(allow, tls=portal_source.tls(ca)))
        client = opened[-1]
        return Web(location or served.url, lambda: client)

    yield make
    for client in opened:
        await client.aclose()


async def test_a_directory_gives_its_index_once_until_it_changes(root: Path) -> None:
    source = Directory(root)
    first = await source.index("")
    assert first is not None
    assert await source.index(first.etag) is None
    write_index(root, title="changed")
    changed = await source.index(first.etag)
    assert changed is not None
    assert b"changed" in changed.body
    assert await source.item("sub/item.yaml", 5) == b"hello"
    assert await source.item("sub/item.yaml", 3) == b"hell"  # one more than the index says, which gives it away


async def test_nothing_outside_of_a_directory_is_read(root: Path) -> None:
    (root / "link.yaml").symlink_to(root.parent / "secret.yaml")
    (root / "up").symlink_to(root.parent)
    (root / "circle.yaml").symlink_to("circle.yaml")
    os.mkfifo(root / "pipe.yaml")
    source = Directory(root)
    for path in ("link.yaml", "circle.yaml", "up/secret.yaml", "../secret.yaml", "pipe.yaml", "sub"):
        with pytest.raises((errors.Forbidden, errors.TargetUnavailable)):
            with anyio.fail_after(5):
                await source.item(path, 10)


async def test_a_directory_without_an_index_or_with_a_huge_one_says_so(root: Path) -> None:
    with pytest.raises(errors.TargetUnavailable, match="cannot be read"):
        await Directory(root / "nowhere").index("")
    with (root / "index.json").open("wb") as file:
        file.truncate(MAX_INDEX_BYTES + 1)
    with pytest.raises(errors.InvalidDocument, match="larger than"):
        await Directory(root).index("")


async def test_https_gives_index_and_items_and_asks_with_the_etag(web: Callable[..., Web], served: Server) -> None:
    source = web()
    first = await source.index("")
    assert first is not None
    assert await source.index(first.etag) is None
    assert [headers.get("if-none-match") for _, headers in served.requests] == [None, first.etag]
    assert await source.item("sub/item.yaml", 5) == b"hello"
    named = await web(f"{served.url}/index.json").index("")
    assert named == first


async def test_a_certificate_that_nobody_trusts_is_refused(web: Callable[..., Web]) -> None:
    with pytest.raises(errors.TargetUnavailable, match="certificate verify failed"):
        await web(ca=None).index("")


async def test_a_private_address_is_closed_unless_it_is_allowed(web: Callable[..., Web], served: Server) -> None:
    with pytest.raises(errors.Forbidden, match="may not reach"):
        await web(allow=()).index("")
    assert served.requests == []


async def test_a_redirect_is_not_followed(web: Callable[..., Web], served: Server) -> None:
    served.answer = lambda path: (302, {"location": "https://evil.example/"}, b"")
    with pytest.raises(errors.TargetUnavailable, match=r"302.*not followed"):
        await web().index("")
    assert len(served.requests) == 1


@pytest.mark.parametrize("status", [304, 401, 404, 500])
async def test_a_status_that_is_no_success_is_told(web: Callable[..., Web], served: Server, status: int) -> None:
    served.answer = lambda path: (status, {"content-length": "0"}, b"")
    with pytest.raises(errors.TargetUnavailable, match=str(status)):
        await web().index("")


async def test_an_index_without_end_is_cut_off(web: Callable[..., Web], served: Server) -> None:
    served.answer = lambda path: (200, {}, b" " * (MAX_INDEX_BYTES + 1))
    with pytest.raises(errors.TargetUnavailable, match="longer than"):
        await web().index("")


async def test_a_compressed_bomb_is_not_unpacked(web: Callable[..., Web], served: Server) -> None:
    served.answer = lambda path: (200, {"content-encoding": "gzip"}, gzip.compress(b" " * 10_000_000))
    with pytest.raises(errors.TargetUnavailable, match="compressed"):
        await web().index("")


async def test_an_answer_that_breaks_off_is_told(web: Callable[..., Web], served: Server) -> None:
    served.answer = lambda path: (200, {"content-length": "1000", "connection": "close"}, b"short")
    with pytest.raises(errors.TargetUnavailable):
        with anyio.fail_after(10):
            await web().item("sub/item.yaml", 1000)


async def test_an_answer_that_never_comes_ends_at_the_deadline(
    web: Callable[..., Web], served: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portal_source, "INDEX_SECONDS", 0.3)
    served.answer = lambda path: (200, {"content-length": "1000"}, b"")
    with anyio.fail_after(5), pytest.raises(errors.TargetUnavailable, match="no complete answer"):
        await web().index("")


def test_a_file_without_certificates_names_the_setting(tmp_path: Path) -> None:
    for file in (tmp_path / "none.pem", tmp_path):
        with pytest.raises(errors.TargetUnavailable, match="portal_ca_file"):
            portal_source.tls(file)
