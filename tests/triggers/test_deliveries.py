"""Callbacks through a real engine: what is posted, when it is tried again, and that nobody else waits for it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from core import clock, errors
from core.engine import Engine
from core.guard import dialing
from core.triggers import deliveries, posting, signing
from tests import waiting
from tests.dsl import web
from tests.engines import ADMIN, EXAMPLES, deploy, engine_on

pytestmark = pytest.mark.anyio

DEFINITION: dict[str, Any] = json.loads((EXAMPLES / "smoke_trigger.json").read_text())
HANDLER = (EXAMPLES / "smoke_trigger_handler.yaml").read_text()
LOOPBACK = ("127.0.0.0/8",)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "PAUSES_SECONDS", (0.02, 0.02, 0.02, 0.02))


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine_on(tmp_path / "home", egress_allow=LOOPBACK) as running:
        await running.call("trigger_publish", DEFINITION, ADMIN)
        await deploy(running, HANDLER)
        yield running


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Engine]:
    """An engine without workers: each run is refused at once, which is one update."""
    async with engine_on(tmp_path / "home", workers=0, callback_allow=LOOPBACK) as running:
        await running.call("trigger_publish", DEFINITION, ADMIN)
        yield running


async def invoke(engine: Engine, url: str, **more: Any) -> dict[str, Any]:
    headers = more.pop("headers", {})
    arguments = {"slug": "smoke_trigger", "params": {"env": "prod"}, "callback": {"url": url, "headers": headers}}
    return await engine.call("trigger_invoke", {**arguments, **more}, ADMIN)


async def ended(engine: Engine, invocation_id: str) -> list[dict[str, Any]]:
    """The deliveries of an invocation, when all of them have ended."""

    async def callbacks() -> list[dict[str, Any]]:
        return list((await engine.call("trigger_invocation_get", {"invocation_id": invocation_id}, ADMIN))["callbacks"])

    return await waiting.until(
        callbacks, lambda found: found and all(one["outcome"] != "pending" for one in found), seconds=90
    )


async def test_every_state_is_posted_once_in_the_documented_shape(engine: Engine) -> None:
    with anyio.fail_after(30):
        async with web.serve(web.answer(204)) as site:
            record = await invoke(engine, site.url("/hook?key=s3cret"), headers={"authorization": "Bearer t0ken"})
            told = await ended(engine, record["invocation_id"])
            assert [one["state"] for one in told] == ["dispatched", "succeeded"]
        assert record["callback"] == f"http://127.0.0.1:{site.port}", "the path may be a credential"
    bodies = {body["invocation"]["state"]: body for body in (json.loads(r.body) for r in site.requests)}
    assert len(site.requests) == 2
    first = bodies["dispatched"]
    assert first == {
        "version": 1,
        "event_id": told[0]["event_id"],
        "event_type": "trigger_invocation_state",
        "emitted_at": first["emitted_at"],
        "invocation": {
            "invocation_id": record["invocation_id"],
            "trigger_slug": "smoke_trigger",
            "trigger_revision": 1,
            "tenant_id": "tenant-a",
            "state": "dispatched",
            "result": {"status": "accepted_for_dispatch", "mode": "response_slot", "state": "dispatched"},
        },
    }
    assert bodies["succeeded"]["invocation"]["result"] == record["result"]
    for request in site.requests:
        assert request.line.startswith("POST /hook?key=s3cret ")
        assert request.headers["authorization"] == "Bearer t0ken"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["webhook-id"] in {one["event_id"] for one in told}
        assert "webhook-signature" not in request.headers


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_passing_fault_is_tried_again_under_the_same_id(plain: Engine, status: int) -> None:
    with anyio.fail_after(30):
        async with web.serve(web.answer(status), web.answer(status), web.answer(200)) as site:
            record = await invoke(plain, site.url())
            (told,) = await ended(plain, record["invocation_id"])
    assert (told["outcome"], told["attempts"]) == ("delivered", 3)
    assert [entry.get("status") for entry in told["tries"]] == [status, status, 200]
    assert len({request.headers["webhook-id"] for request in site.requests}) == 1
    assert len({request.body for request in site.requests}) == 1


@pytest.mark.parametrize(
    ("status", "tries", "reason"),
    [(500, 5, "given up after 5 tries"), (400, 1, "answered 400"), (410, 1, "answered 410"), (307, 1, "redirect")],
)
async def test_what_stays_is_given_up_with_the_reason(plain: Engine, status: int, tries: int, reason: str) -> None:
    with anyio.fail_after(30):
        async with (
            web.serve(web.answer(200)) as elsewhere,
            web.serve(web.answer(status, location=elsewhere.url())) as site,
        ):
            record = await invoke(plain, site.url())
            (told,) = await ended(plain, record["invocation_id"])
    assert (told["outcome"], told["attempts"], len(site.requests)) == ("dead", tries, tries)
    assert reason in told["tries"][-1]["reason"]
    assert elsewhere.connections == 0, "redirects are not followed"


async def test_nobody_at_home_is_a_passing_fault(plain: Engine) -> None:
    with anyio.fail_after(30):
        async with web.serve(web.answer()) as site:
            gone = site.url()
        record = await invoke(plain, gone)
        (told,) = await ended(plain, record["invocation_id"])
    assert (told["outcome"], told["attempts"]) == ("dead", 5)


async def test_redeliver_owes_an_ended_delivery_once_more(plain: Engine) -> None:
    with anyio.fail_after(30):
        async with web.serve(web.answer(404), web.answer(200)) as site:
            record = await invoke(plain, site.url())
            (told,) = await ended(plain, record["invocation_id"])
            listed = await plain.call("callback_delivery_list", {"outcome": "dead"}, ADMIN)
            assert [one["event_id"] for one in listed["items"]] == [told["event_id"]]
            await plain.call("callback_redeliver", {"event_id": told["event_id"]}, ADMIN)
            (again,) = await ended(plain, record["invocation_id"])
            with pytest.raises(errors.NotFound):
                await plain.call("callback_redeliver", {"event_id": "evt_0000000000000001"}, ADMIN)
    assert again["outcome"] == "delivered"
    assert [entry["status"] for entry in again["tries"]] == [404, 200]
    assert site.requests[0].body == site.requests[1].body


async def test_a_name_that_leads_inside_at_the_next_try_is_not_dialled(
    plain: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with web.serve(web.answer(503), host="127.0.0.2") as site, web.serve(web.answer()) as trap:
        trap_url = site.url(host="flip.test")
        answers = iter(["127.0.0.2"])

        async def lookup(host: Any, port: Any) -> Any:
            return [(2, 1, 6, "", (next(answers, "10.0.0.1"), port))]

        monkeypatch.setattr(dialing, "lookup", lookup)
        with anyio.fail_after(10):
            record = await invoke(plain, trap_url)
            (told,) = await ended(plain, record["invocation_id"])
    assert (told["outcome"], told["attempts"], trap.connections) == ("dead", 2, 0)
    assert "may not reach" in told["tries"][-1]["reason"]


@pytest.mark.parametrize(
    "callback",
    [
        {"url": "http://10.0.0.1/"},
        {"url": "http://127.0.0.1/", "headers": {"host": "x"}},
        {"url": "http://127.0.0.1/", "headers": {"x": 5}},
        {"url": "http://127.0.0.1/", "headers": []},
        {"url": "http://127.0.0.1/", "headers": {f"x-{n}": "" for n in range(33)}},
        {"url": "http://127.0.0.1/", "secret": "x"},
        {"headers": {}},
        "http://127.0.0.1/",
    ],
    ids=str,
)
async def test_nothing_runs_for_a_callback_that_is_not_valid(plain: Engine, callback: Any) -> None:
    with pytest.raises(errors.InvalidParams) as caught:
        arguments = {"slug": "smoke_trigger", "params": {"env": "a"}, "callback": callback}
        await plain.call("trigger_invoke", arguments, ADMIN)
    assert caught.value.errors
    assert all(problem.pointer.startswith("/callback") for problem in caught.value.errors)
    assert (await plain.call("trigger_invocation_list", {}, ADMIN))["total"] == 0


async def test_a_site_is_owed_at_most_so_much_and_the_rest_can_be_asked_for(
    plain: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "MOST_PENDING", 3)
    monkeypatch.setattr(posting, "PAUSES_SECONDS", (60.0,) * 4)
    with anyio.fail_after(20):
        async with web.serve(web.answer(503)) as site:
            for n in range(8):
                await invoke(plain, site.url(f"/{n % 2}"))
            dead = await plain.call("callback_delivery_list", {"outcome": "dead"}, ADMIN)
            assert 3 <= dead["total"] <= 5, "three are owed, and one for each address may be on its way"
            assert "was owed 3 deliveries" in dead["items"][0]["tries"][0]["reason"]
            assert all(one["attempts"] == 0 for one in dead["items"])


# ---- signing and what is kept


async def set_secret(engine: Engine, name: str, value: str) -> None:
    await engine.call("secret_set", {"name": f"callback/{name}", "value": value}, ADMIN)


def signed_by(request: web.Request, secret: str) -> bool:
    told = request.headers
    made = signing.headers([signing.key(secret)], told["webhook-id"], int(told["webhook-timestamp"]), request.body)
    return made["webhook-signature"] in told["webhook-signature"].split(" ")


OLD, NEW = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))


async def test_updates_are_signed_by_the_secret_of_the_tenant_and_by_the_one_before(plain: Engine) -> None:
    with anyio.fail_after(20):
        async with web.serve(web.answer(204)) as site:
            await set_secret(plain, "signing-secret", OLD)
            await ended(plain, (await invoke(plain, site.url()))["invocation_id"])
            await set_secret(plain, "signing-secret", NEW)
            await set_secret(plain, "signing-secret-previous", OLD)
            await ended(plain, (await invoke(plain, site.url()))["invocation_id"])
            await plain.call("secret_delete", {"name": "callback/signing-secret-previous"}, ADMIN)
            await ended(plain, (await invoke(plain, site.url()))["invocation_id"])
    verdicts = [(signed_by(request, OLD), signed_by(request, NEW)) for request in site.requests]
    assert verdicts == [(True, False), (True, True), (False, True)]
    assert abs(int(site.requests[0].headers["webhook-timestamp"]) - clock.now_ns() // clock.NANOSECONDS) < 60


async def test_a_secret_that_cannot_sign_stops_the_call_and_is_not_told(plain: Engine) -> None:
    await set_secret(plain, "signing-secret", "my-s3cret-text")
    with pytest.raises(errors.InvalidParams) as caught:
        await invoke(plain, "https://a.example/")
    assert "callback/signing-secret" in str(caught.value)
    assert "my-s3cret-text" not in str(caught.value)
    assert (await plain.call("trigger_invocation_list", {}, ADMIN))["total"] == 0


async def test_a_rotation_of_the_vault_leaves_what_is_owed_readable(plain: Engine) -> None:
    with anyio.fail_after(20):
        async with web.serve(web.answer(404), web.answer(204)) as site:
            record = await invoke(plain, site.url("/t0ken"))
            (told,) = await ended(plain, record["invocation_id"])
            await plain.call("secret_rotate_key", {}, ADMIN)
            await plain.call("callback_redeliver", {"event_id": told["event_id"]}, ADMIN)
            (again,) = await ended(plain, record["invocation_id"])
    assert again["outcome"] == "delivered"
    assert [request.line.split()[1] for request in site.requests] == ["/t0ken"] * 2
    assert (await plain.call("secret_list", {}, ADMIN))["items"] == [], "the key is nobody's secret"


async def test_without_its_key_a_delivery_is_given_up_and_new_callbacks_work(tmp_path: Path) -> None:
    async with web.serve(web.answer(404), web.answer(204)) as site:
        async with engine_on(tmp_path / "home", workers=0, egress_allow=LOOPBACK) as engine:
            await engine.call("trigger_publish", DEFINITION, ADMIN)
            first = await invoke(engine, site.url())
            with anyio.fail_after(10):
                (told,) = await ended(engine, first["invocation_id"])
        (tmp_path / "home" / "secrets.key").unlink()
        async with engine_on(tmp_path / "home", workers=0, egress_allow=LOOPBACK) as engine:
            await engine.call("callback_redeliver", {"event_id": told["event_id"]}, ADMIN)
            with anyio.fail_after(10):
                (lost,) = await ended(engine, first["invocation_id"])
                second = await invoke(engine, site.url())
                (fresh,) = await ended(engine, second["invocation_id"])
    assert (lost["outcome"], fresh["outcome"]) == ("dead", "delivered")
    assert "cannot be decrypted" in lost["tries"][-1]["reason"]


async def test_an_address_or_header_is_in_no_answer_message_or_log(plain: Engine, capfd: Any) -> None:
    canary = "c4nary"
    with anyio.fail_after(20):
        async with web.serve(web.answer(400, canary.encode())) as site:
            record = await invoke(plain, site.url(f"/{canary}?k={canary}"), headers={"authorization": canary})
            told = await ended(plain, record["invocation_id"])
    listed = await plain.call("callback_delivery_list", {}, ADMIN)
    stored = await plain.database.read(lambda db: "\n".join(db.conn.iterdump()))
    for text in (json.dumps([record, told, listed]), stored, *capfd.readouterr()):
        assert canary not in text
