from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import anyio
import pytest
from pydantic import ValidationError

from core.dsl.component import Limits, Run
from core.dsl.stores import base, cloud, remote
from core.dsl.stores.gate import Gate
from core.dsl.stores.remote import RemoteStore
from core.errors import JobFailed
from tests import cases
from tests.dsl import rig, web
from tests.dsl.rig import Worker

obstore = pytest.importorskip("obstore.store")
faults = pytest.importorskip("obstore.exceptions")
boto3 = pytest.importorskip("boto3")
server = pytest.importorskip("moto.server")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(botocore|moto|werkzeug).*"),
]
LOOPBACK = Limits(egress_allow=("127.0.0.1/32",))
KEYS = {"access-key": "id", "secret-key": "secret", "region": "us-east-1"}


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """A real server that speaks the protocol of S3 (and of STS) on loopback."""
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


class Bucket:
    def __init__(self, service: str, name: str) -> None:
        self.service, self.name = service, name
        self.client = boto3.client(
            "s3", endpoint_url=service, aws_access_key_id="x", aws_secret_access_key="y", region_name="us-east-1"
        )
        self.client.create_bucket(Bucket=name)

    def source(self, **options: Any) -> dict[str, Any]:
        return {"s3": {"bucket-name": self.name, "endpoint": self.service, **KEYS, **options}}

    def sink(self, **options: Any) -> dict[str, Any]:
        name = {"object-name": {"name": "part"}}
        return {"s3": {"bucket-name": self.name, "endpoint": self.service, **KEYS, **name, **options}}

    def put(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=name, Body=data)

    def content(self) -> dict[str, bytes]:
        listed = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        names = [one["Key"] for one in listed]
        return {name: self.client.get_object(Bucket=self.name, Key=name)["Body"].read() for name in names}


@pytest.fixture
def bucket(service: str, request: pytest.FixtureRequest, worker: Worker) -> Bucket:
    worker.limits = LOOPBACK
    return Bucket(service, f"b{abs(hash(request.node.name)):x}"[:40])


# ---- reading


async def test_objects_of_a_bucket_are_read_line_by_line_with_where_they_came_from(
    bucket: Bucket, worker: Worker
) -> None:
    bucket.put("in/a.json", b'{"n":1}\n{"n":2}\n')
    bucket.put("in/b.json.gz", gzip.compress(b'{"n":3}\n'))
    bucket.put("out/c.json", b'{"n":4}\n')
    bucket.put("in/", b"")  # what a console makes for a directory
    events = await worker.read(
        bucket.source(json=True, preprocessors=["extension"], **{"object-names": ["in/"], "object-name-field": "from"})
    )
    assert sorted((event["n"], event["from"]) for event in events) == [
        (1, "in/a.json"),
        (2, "in/a.json"),
        (3, "in/b.json.gz"),
    ]
    assert worker.reports[-1].errors == 0


async def test_a_prefix_may_end_within_a_name(bucket: Bucket, worker: Worker) -> None:
    for name in ("logs/2026-01.txt", "logs/2025-12.txt", "logs2026.txt", "20.txt"):
        bucket.put(name, name.encode())
    for prefixes, count in ((["logs/2026"], 1), (["logs"], 3), (["logs/", "20"], 3), ([], 4)):
        assert len(await worker.read(bucket.source(**{"object-names": prefixes}))) == count


@pytest.mark.parametrize("mode", ["list", "list-objects"])
async def test_listing_a_bucket_downloads_nothing(bucket: Bucket, worker: Worker, mode: str) -> None:
    bucket.put("a/b.json", b"12345")
    (event,) = await worker.read(bucket.source(mode=mode))
    assert (event["name"], event["size"]) == ("a/b.json", 5)


@pytest.mark.parametrize("mode", ["download", "download-objects"])
async def test_named_objects_are_downloaded_without_listing(bucket: Bucket, worker: Worker, mode: str) -> None:
    bucket.put("a", b"one\n")
    bucket.put("b", b"two\n")
    assert await worker.read(bucket.source(mode=mode, **{"object-names": ["b"]})) == [{"_raw": "two"}]
    with pytest.raises(JobFailed, match="there is no object nothing"):
        await worker.read(bucket.source(mode=mode, **{"object-names": ["b", "nothing"]}))


async def test_with_fingerprinting_an_object_is_read_once_and_again_when_it_changes(
    bucket: Bucket, worker: Worker
) -> None:
    source = bucket.source(fingerprinting=True)
    bucket.put("a", b"one\n")
    assert await worker.read(source) == [{"_raw": "one"}]
    assert await worker.read(source) == []
    bucket.put("a", b"new\n")  # of the same size, and perhaps in the same second
    assert await worker.read(source) == [{"_raw": "new"}]


async def test_an_object_that_cannot_be_decoded_is_skipped_and_the_others_are_read(
    bucket: Bucket, worker: Worker
) -> None:
    bucket.put("a.gz", gzip.compress(b"x" * 100_000)[:-20])
    bucket.put("b.gz", gzip.compress(b"fine\n"))
    source = bucket.source(preprocessors=["gzip"], fingerprinting=True, **{"ignore-linebreaks": True})
    assert await worker.read(source) == [{"_raw": "fine\n"}]
    assert worker.reports[-1].errors == 1
    assert "a.gz was skipped" in worker.warnings[-1]
    bucket.put("a.gz", gzip.compress(b"whole\n"))
    assert await worker.read(source) == [{"_raw": "whole\n"}]


async def test_a_large_object_arrives_in_bounded_chunks(bucket: Bucket, worker: Worker) -> None:
    bucket.put("big", b"".join(b"%08d\n" % number for number in range(400_000)))
    sizes: list[int] = []

    def keep(events: list[dict[str, Any]], run: Run) -> list[dict[str, Any]]:
        sizes.append(len(events))
        return rig.pass_on(events, run)

    report = await worker.run(bucket.source(), {"discard": {}}, keep)
    assert report.events_in == 400_000
    assert max(sizes) < 10_000


# ---- writing


async def test_events_become_objects_with_batches_names_and_preprocessors(bucket: Bucket, worker: Worker) -> None:
    sink = bucket.sink(
        **{
            "object-name": {"name": "@{job}/${day}-${stat|_BATCH_NUMBER}.json.gz"},
            "disable-object-name-guid": True,
            "batch": {"fixed_size": 2},
            "preprocessors": ["gzip"],
        }
    )
    await worker.write("\n".join(f'{{"day":"mon","n":{n}}}' for n in range(3)), sink)
    assert {name: gzip.decompress(data) for name, data in bucket.content().items()} == {
        "job/mon-1.json.gz": b'{"day":"mon","n":0}\n{"day":"mon","n":1}\n',
        "job/mon-2.json.gz": b'{"day":"mon","n":2}\n',
    }


async def test_what_is_written_can_be_read_back_and_deleted(bucket: Bucket, worker: Worker) -> None:
    await worker.write('{"n":1}\n{"n":2}', bucket.sink(batch={"mode": "document"}))
    assert await worker.read(bucket.source(json=True)) == [{"n": 1}, {"n": 2}]
    (name,) = bucket.content()
    assert name.startswith("part/")
    events = "\n".join(json.dumps({"name": one}) for one in (name, "not/there"))
    await worker.write(events, bucket.sink(mode="delete", **{"object-name": {"field": "name"}}))
    assert bucket.content() == {}


@pytest.mark.parametrize("name", ["../x", "/abs", "a//b", "a/../../x", "", "a\\b", "a\n", "x" * 300])
async def test_a_name_that_might_mean_another_place_is_refused(bucket: Bucket, worker: Worker, name: str) -> None:
    report = await worker.write(json.dumps({"name": name}), bucket.sink(**{"object-name": {"field": "name"}}))
    assert (report.errors, report.events_out) == (1, 0)
    assert bucket.content() == {}


async def test_credentials_and_the_bucket_come_from_variables(bucket: Bucket, worker: Worker) -> None:
    worker.variables = {"BUCKET": bucket.name, "KEY": "id", "SECRET": "secret"}
    options = {"bucket-name": "${dyn|BUCKET}", "access-key": "${dyn|KEY}", "secret-key": "${dyn|SECRET}"}
    await worker.write('{"n":1}', bucket.sink(**options))
    assert list(bucket.content().values()) == [b'{"n":1}\n']
    with pytest.raises(JobFailed, match="access-key-id of the object store is an empty text"):
        await worker.write('{"n":1}', bucket.sink(**{**options, "access-key": "${dyn|OTHER||}"}))


async def test_a_role_is_taken_on_with_the_access_key(bucket: Bucket, worker: Worker) -> None:
    role = "arn:aws:iam::123456789012:role/writer"
    await worker.write('{"n":1}', bucket.sink(**{"role-arn": role}))
    assert len(bucket.content()) == 1


# ---- what goes wrong


async def test_an_endpoint_that_is_private_is_refused_unless_the_administrator_opens_it(
    bucket: Bucket, worker: Worker
) -> None:
    worker.limits = Limits()
    for job in ((bucket.source(), {"discard": {}}), ({"echo": {"event": "x"}}, bucket.sink())):
        with pytest.raises(JobFailed, match=r"127\.0\.0\.1 is an address that jobs may not reach") as caught:
            await worker.run(*job)
        assert "egress_allow" in caught.value.hint
    assert bucket.content() == {}


async def test_a_bucket_that_is_not_there_fails_the_job_with_its_name(bucket: Bucket, worker: Worker) -> None:
    for job in (
        (bucket.source(**{"bucket-name": "wrong"}), {"discard": {}}),
        ({"echo": {"event": "x"}}, bucket.sink(**{"bucket-name": "wrong"})),
    ):
        with pytest.raises(JobFailed, match=r"s3://wrong: cannot (list|write).*: it does not exist"):
            await worker.run(*job)


async def test_a_service_that_does_not_answer_fails_the_job_after_its_retries(worker: Worker) -> None:
    worker.limits = LOOPBACK
    place = {"bucket-name": "b", "endpoint": "http://127.0.0.1:1", **KEYS}
    with anyio.fail_after(20):
        with pytest.raises(JobFailed, match=r"s3://b: cannot list: cannot reach 127\.0\.0\.1:1"):
            await worker.read({"s3": place})
        with pytest.raises(JobFailed, match=r"s3://b: cannot write part.*cannot reach"):
            await worker.write(
                '{"n":1}', {"s3": {**place, "object-name": "part", "retry": {"retries": 1, "timeout": "10s"}}}
            )
    assert any("trying again" in line for line in worker.warnings)


async def test_a_service_that_refuses_us_fails_the_job_at_once(worker: Worker) -> None:
    worker.limits = LOOPBACK
    async with web.serve(web.answer(403, b"<Error><Code>AccessDenied</Code></Error>")) as site:
        place = {"bucket-name": "b", "endpoint": f"http://127.0.0.1:{site.port}", **KEYS}
        with pytest.raises(JobFailed, match="the credentials do not allow it"):
            await worker.write('{"n":1}', {"s3": {**place, "object-name": "part", "retry": {"retries": 5}}})
        assert site.connections == 1


@pytest.mark.parametrize(
    "place",
    [
        {"s3": {"bucket-name": "b"}},
        {"gcs": {"bucket-name": "b"}},
        {"azure-blob": {"container-name": "c", "storage-account": "acme"}},
    ],
    ids=["s3", "gcs", "azure-blob"],
)
async def test_without_credentials_a_job_is_refused_or_says_where_they_can_come_from(
    worker: Worker, place: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(JobFailed, match="those of the operator need the setting cloud_credentials"):
        await worker.read(place)
    worker.limits = Limits(cloud={})
    with anyio.fail_after(20), pytest.raises(JobFailed, match="there are no credentials") as caught:
        await worker.read(place)
    assert "cloud_credentials" in caught.value.hint


async def test_without_the_library_a_job_says_what_to_install(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    for kind, document in (
        ("input", {"s3": {"bucket-name": "b"}}),
        ("output", {"gcs": {"bucket-name": "b", "object-name": "x"}}),
        ("input", {"azure-blob": {"container-name": "c", "storage-account": "a"}}),
    ):
        with pytest.raises(JobFailed) as caught:
            rig.declare(kind, document).open(worker.env())
        assert caught.value.hint == "pip install 'sluice-mcp[s3]'"


async def test_more_objects_than_fit_in_memory_are_refused_with_the_way_out(
    bucket: Bucket, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "MOST_OBJECTS", 2)
    for number in range(3):
        bucket.put(f"{number}", b"x")
    with pytest.raises(JobFailed, match="more than 2 objects"):
        await worker.read(bucket.source())


# ---- the gate


async def test_the_gate_lets_nothing_pass_that_is_not_allowed_and_is_used_for_everything() -> None:
    async with web.serve(web.answer(200, b"secret")) as site:
        store = RemoteStore(
            "S3Store",
            "b",
            {"endpoint": f"http://localhost:{site.port}", "access_key_id": "a", "secret_access_key": "b"},
            where="s3://b",
            plain_http=True,
            allow=(),
        )
        try:
            with pytest.raises(JobFailed, match="localhost is an address that jobs may not reach"):
                await store.listing([], lambda one: True)
        finally:
            await store.close()
        assert site.connections == 0


async def test_the_gate_ends_connections_that_send_no_request() -> None:
    gate = Gate(("127.0.0.1",))
    address = (await gate.url()).removeprefix("http://").split(":")
    for junk in (b"\r\n\r\n", b"GET\r\n\r\n", b"CONNECT \xff:1 HTTP/1.1\r\n\r\n", b"CONNECT a:99999 HTTP/1.1\r\n\r\n"):
        async with await anyio.connect_tcp(address[0], int(address[1])) as stream:
            await stream.send(junk)
            with anyio.fail_after(5), pytest.raises(anyio.EndOfStream):
                while True:
                    assert b"200" not in await stream.receive()
    await gate.close()


# ---- the other clouds: no emulator of theirs comes as a Python package, so what is checked is the requests that go out
# and the settings that obstore is given


GCS_LIST = b"""<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Contents><Key>in/a.json</Key>
<Size>8</Size><LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>"e1"</ETag></Contents></ListBucketResult>"""
AZURE_LIST = b"""<?xml version="1.0" encoding="utf-8"?>
<EnumerationResults><Blobs><Blob><Name>in/a.json</Name><Properties>
<Last-Modified>Fri, 02 Jan 2026 03:04:05 GMT</Last-Modified><Etag>0x1</Etag><Content-Length>8</Content-Length>
<Content-Type>text/plain</Content-Type></Properties></Blob></Blobs></EnumerationResults>"""
CONTENT = web.answer(200, b'{"n":1}\n', ETag='"e1"', Last_Modified="Fri, 02 Jan 2026 03:04:05 GMT")
CREATED = web.answer(201, b"", ETag='"e2"', Last_Modified="Fri, 02 Jan 2026 03:04:05 GMT")
OTHERS: dict[str, tuple[dict[str, Any], bytes, str, str]] = {
    "gcs": ({"gcs": {"bucket-name": "b", "credentials": {"token": "t0k"}}}, GCS_LIST, "/b", "Bearer t0k"),
    "azure-blob": (
        {"azure-blob": {"container-name": "c", "storage-account": "acme", "storage-master-key": "a2V5"}},
        AZURE_LIST,
        "/c",
        "SharedKey acme:",
    ),
}


@pytest.mark.parametrize(("document", "listing", "place", "signed"), OTHERS.values(), ids=OTHERS.keys())
async def test_the_other_clouds_are_asked_in_their_own_words(
    worker: Worker, document: dict[str, Any], listing: bytes, place: str, signed: str
) -> None:
    worker.limits = LOOPBACK
    ((name, keys),) = document.items()
    async with web.serve(web.answer(200, listing), CONTENT, CREATED) as site:
        keys = {**keys, "endpoint": f"http://127.0.0.1:{site.port}"}
        with anyio.fail_after(10):
            source = {name: {**keys, "json": True, "last-modified-field": "at"}}
            assert await worker.read(source) == [{"n": 1, "at": "2026-01-02T03:04:05.000Z"}]
            sink = {name: {**keys, "object-name": "out/x.json", "disable-object-name-guid": True}}
            assert (await worker.write('{"n":2}', sink)).events_out == 1
        asked = [(request.line.split()[0], unquote(request.line.split()[1].split("?")[0])) for request in site.requests]
        base = f"http://127.0.0.1:{site.port}{place}"
        assert asked == [("GET", base), ("GET", f"{base}/in/a.json"), ("PUT", f"{base}/out/x.json")]
        assert all(request.headers["authorization"].startswith(signed) for request in site.requests)
        assert site.requests[-1].body == b'{"n":2}\n'


SERVICE_ACCOUNT = '{"client_email": "a@b", "private_key": "k", "private_key_id": "i", "disable_oauth": true}'


@pytest.mark.parametrize(
    ("document", "kind", "bucket", "config"),
    [
        (
            {"gcs": {"bucket-name": "gs://b", "credentials": {"service-account": {"key": "${dyn|KEY}"}}}},
            "GCSStore",
            "b",
            {"service_account_key": SERVICE_ACCOUNT},
        ),
        (
            {"gcs": {"bucket-name": "b", "credentials": "${dyn|KEY}"}},
            "GCSStore",
            "b",
            {"service_account_key": SERVICE_ACCOUNT},
        ),
        ({"gcs": {"bucket-name": "b", "credentials": {"application-default": {}}}}, "GCSStore", "b", {}),
        ({"gcs": {"bucket-name": "b", "credentials": {"anonymous": True}}}, "GCSStore", "b", {"skip_signature": True}),
        ({"gcs": {"bucket": "b"}}, "GCSStore", "b", {}),
        (
            {"azure-blob": {"container-name": "c", "storage-account": "acme", "storage-master-key": "a2V5"}},
            "AzureStore",
            "c",
            {"account_name": "acme", "account_key": "a2V5"},
        ),
        (
            {"azure-blob": {"container": "c", "account-name": "acme", "sas-token": "sv=1&sig=x"}},
            "AzureStore",
            "c",
            {"account_name": "acme", "sas_key": "sv=1&sig=x"},
        ),
        (
            {
                "azure-blob": {
                    "container-name": "c",
                    "storage-account": "acme",
                    "tenant-id": "t",
                    "client-id": "i",
                    "client-secret": "s",
                }
            },
            "AzureStore",
            "c",
            {"account_name": "acme", "tenant_id": "t", "client_id": "i", "client_secret": "s"},
        ),
        (
            {"s3": {"bucket-name": "b", "access-key": "i", "secret-key": "s", "security-token": "t"}},
            "S3Store",
            "b",
            {"access_key_id": "i", "secret_access_key": "s", "session_token": "t"},
        ),
        ({"s3": {"bucket-name": "b", "role-arn": "arn:x"}}, "S3Store", "b", {"role_arn": "arn:x"}),
    ],
)
async def test_the_keys_of_a_document_become_the_settings_of_the_library(
    worker: Worker, document: dict[str, Any], kind: str, bucket: str, config: dict[str, Any]
) -> None:
    worker.variables = {"KEY": SERVICE_ACCOUNT}
    worker.limits = Limits(cloud={})
    source = rig.declare("input", document).open(worker.env())
    store = source._open(Run())
    try:
        client = await store._store()
        assert (store._kind, store._bucket, store._config) == (kind, bucket, config)
        assert type(client).__name__ == kind
        assert client.client_options["proxy_url"].startswith("http://127.0.0.1:")
    finally:
        await store.close()


@cases.table(
    ("document", "told"),
    [
        ({"s3": {}}, "bucket-name"),
        ({"s3": {"bucket-name": "b", "access-key": "x"}}, "come together"),
        ({"s3": {"bucket-name": "b", "session-token": "x"}}, "a session token comes with"),
        ({"s3": {"bucket-name": "b", "endpoint": "ftp://x"}}, "neither http"),
        ({"s3": {"bucket-name": "b", "endpoint": "https://x"}}, "an endpoint comes with credentials of its own"),
        ({"s3": {"bucket-name": "b", "endpoint": "https://x", "role-arn": "arn:x"}}, "credentials of its own"),
        ({"gcs": {"bucket-name": "b", "endpoint": "https://x"}}, "an endpoint comes with credentials of its own"),
        (
            {"gcs": {"bucket-name": "b", "endpoint": "https://x", "credentials": {"application-default": {}}}},
            "an endpoint comes with credentials of its own",
        ),
        (
            {"azure-blob": {"container-name": "c", "storage-account": "a", "endpoint": "https://x", "client-id": "i"}},
            "an endpoint comes with credentials of its own",
        ),
        ({"s3": {"bucket-name": "b", "endpoint": "http://user@host"}}, "user name"),
        ({"gcs": {"bucket-name": "b", "credentials": {}}}, "exactly one"),
        ({"gcs": {"bucket-name": "b", "credentials": {"token": "t", "anonymous": True}}}, "exactly one"),
        ({"azure-blob": {"container-name": "c"}}, "storage-account"),
        ({"azure-blob": {"container-name": "c", "storage-account": "a", "client-secret": "s"}}, "client-id"),
    ],
)
def test_a_place_that_makes_no_sense_is_refused(document: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        rig.declare("input", document)


@pytest.mark.parametrize("provider", cloud.OPERATOR)
def test_the_library_knows_every_variable_that_stands_for_the_operator(provider: str) -> None:
    kind = {"AWS_": obstore.S3Store, "GOOGLE_": obstore.GCSStore, "AZURE_": obstore.AzureStore}
    unknown = []
    for name in cloud.OPERATOR[provider]:
        try:
            kind[provider]("b", config={provider + name: "true"})
        except faults.UnknownConfigurationKeyError:
            unknown.append(name)
        except faults.BaseError:
            continue  # it is known, and not enough
    assert cloud.OPERATOR[provider] and unknown == []


@pytest.mark.parametrize(
    ("document", "variables", "config"),
    [
        (
            {"s3": {"bucket-name": "b", "region": "eu-1"}},
            {"AWS_ACCESS_KEY_ID": "i", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-1", "AWS_PROFILE": "p"},
            {"region": "eu-1", "AWS_ACCESS_KEY_ID": "i", "AWS_SECRET_ACCESS_KEY": "s"},
        ),
        (
            {"s3": {"bucket-name": "b", "access-key": "own", "secret-key": "own"}},
            {"AWS_SESSION_TOKEN": "t", "AWS_ENDPOINT_URL": "https://operator.test"},
            {"access_key_id": "own", "secret_access_key": "own"},
        ),
        (
            {"azure-blob": {"container-name": "c", "storage-account": "other"}},
            {"AZURE_STORAGE_ACCOUNT_NAME": "acme", "AZURE_STORAGE_ACCOUNT_KEY": "a2V5", "AZURE_CLIENT_ID": "i"},
            {"account_name": "other", "AZURE_CLIENT_ID": "i"},
        ),
        (
            {"azure-blob": {"container-name": "c", "storage-account": "acme"}},
            {"AZURE_STORAGE_ACCOUNT_NAME": "acme", "AZURE_STORAGE_ACCOUNT_KEY": "a2V5"},
            {"account_name": "acme", "AZURE_STORAGE_ACCOUNT_KEY": "a2V5"},
        ),
    ],
)
async def test_the_operator_stands_for_a_document_that_names_nobody_and_for_no_other(
    worker: Worker, document: dict[str, Any], variables: dict[str, str], config: dict[str, str]
) -> None:
    worker.limits = Limits(cloud=variables)
    store = rig.declare("input", document).open(worker.env())._open(Run())
    try:
        assert store._config == config
        await store._store()
    finally:
        await store.close()


def test_a_prefix_is_looked_for_in_its_directory() -> None:
    assert remote._directories(()) == [None]
    assert remote._directories(("a/b/c", "a/d")) == ["a"]
    assert remote._directories(("a/b", "x/y/z")) == ["a", "x/y"]
    assert remote._directories(("a/b", "top")) == [None]
