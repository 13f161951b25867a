"""The output web-dav-store against a server that knows of RFC 4918 what it needs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from core.dsl.component import Limits
from core.errors import JobFailed
from tests.dsl import web
from tests.dsl.rig import Worker
from tests.filepolicies import EVERYWHERE

pytestmark = pytest.mark.anyio
ROOT = "/dav"


@dataclass
class Dav:
    """What is on the server, and what it does next instead of its work."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    collections: set[str] = field(default_factory=lambda: {ROOT})
    faults: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request, writer: asyncio.StreamWriter) -> None:
        method, target, _ = request.line.split()
        self.asked.append(method)
        writer.write(web.answer(self.faults.pop(0) if self.faults else self._do(method, target, request)))

    def _do(self, method: str, target: str, request: web.Request) -> int:
        if request.headers.get("authorization") != "Basic YW5uOnA=":
            return 401
        path = unquote(target).rstrip("/")
        above = str(PurePosixPath(path).parent)
        if method == "MKCOL":
            status = 405 if path in self.collections else 201 if above in self.collections else 409
            self.collections |= {path} if status == 201 else set()
            return status
        if method == "PUT":
            if above not in self.collections:
                return 409
            self.files[path] = request.body
            return 201
        if path not in self.files:
            return 404
        if method == "MOVE":
            there = urlsplit(request.headers["destination"])
            assert (there.netloc, request.headers["overwrite"]) == (request.headers["host"], "T")
            self.files[unquote(there.path)] = self.files.pop(path)
            return 201
        del self.files[path]
        return 204


@asynccontextmanager
async def serving(worker: Worker) -> AsyncIterator[Dav]:
    worker.limits = Limits(files=EVERYWHERE, egress_allow=("127.0.0.1/32",))
    dav = Dav()
    async with web.serve(dav.handle) as site:
        dav.url = site.url(ROOT)
        yield dav


def store(dav: Dav, **keys: Any) -> dict[str, Any]:
    auth = {"basic": {"username": "ann", "password": "p"}}
    name = {"object-name": {"field": "name"}, "disable-object-name-guid": True}
    return {"web-dav-store": {"url": dav.url, "auth": auth, **name, **keys}}


async def test_each_object_is_there_in_one_step_with_the_collections_above_it(worker: Worker) -> None:
    async with serving(worker) as dav:
        report = await worker.write(
            '{"name": "a/b c/1.txt", "t": "one"}\n{"name": "a/2", "t": "two"}', store(dav, **{"input-field": "t"})
        )
        assert dav.files == {"/dav/a/b c/1.txt": b"one", "/dav/a/2": b"two"}
        assert dav.collections == {"/dav", "/dav/a", "/dav/a/b c"}
        assert dav.asked == ["PUT", "MKCOL", "MKCOL", "PUT", "MOVE", "PUT", "MOVE"]
        assert (report.events_out, report.errors) == (2, 0)


async def test_with_a_guid_each_object_has_a_name_of_its_own(worker: Worker) -> None:
    async with serving(worker) as dav:
        keys = {
            "disable-object-name-guid": False,
            "object-name": "out",
            "guid-suffix": ".json",
            "batch": {"fixed-size": 2},
        }
        await worker.write('{"n": 1}\n{"n": 2}\n{"n": 3}', store(dav, **keys))
        assert sorted(dav.files.values()) == [b'{"n":1}\n{"n":2}\n', b'{"n":3}\n']
        assert all(re.fullmatch(r"/dav/out/\w+\.json", name) for name in dav.files)


async def test_objects_are_removed_and_one_that_is_not_there_is_no_fault(worker: Worker) -> None:
    async with serving(worker) as dav:
        dav.files["/dav/a"] = b"old"
        report = await worker.write('{"name": "a"}\n{"name": "b"}', store(dav, mode="delete"))
        assert (dav.files, report.errors) == ({}, 0)


async def test_a_fault_that_may_pass_is_tried_again_and_another_one_fails_the_job(worker: Worker) -> None:
    async with serving(worker) as dav:
        dav.faults = [503]
        await worker.write('{"name": "a"}', store(dav, retry={"retries": 1}))
        assert dav.files == {"/dav/a": b'{"name":"a"}\n'}
        dav.faults = [507]
        with pytest.raises(JobFailed, match="answered 507"):
            await worker.write('{"name": "b"}', store(dav))
        dav.faults = [201, 403]  # it takes the part, and does not let it be moved
        with pytest.raises(JobFailed, match="answered 403"):
            await worker.write('{"name": "c"}', store(dav))


async def test_a_name_that_leads_out_is_refused(worker: Worker) -> None:
    async with serving(worker) as dav:
        report = await worker.write('{"name": "../a"}\n{"name": "ok"}', store(dav))
        assert list(dav.files) == ["/dav/ok"]
        assert report.errors == 1
