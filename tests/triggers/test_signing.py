"""Signatures of callbacks: the published vector of Standard Webhooks, and what is no signing secret."""

from __future__ import annotations

import base64

import pytest

from core.triggers import signing
from tests import cases

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
VECTOR = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_vector_is_met() -> None:
    told = signing.headers([signing.key(SECRET)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, BODY)
    assert told == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": VECTOR,
    }


@cases.table(
    ("id", "seconds", "body"),
    [
        ("msg_p5jXN8AQM9LWM0D4loKWxJeL", 1614265330, BODY),
        ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265331, BODY),
        *(("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, BODY[:n] + b"?" + BODY[n + 1 :]) for n in range(len(BODY))),
    ],
)
def test_the_signature_covers_id_time_and_every_byte_of_the_body(id: str, seconds: int, body: bytes) -> None:
    assert signing.headers([signing.key(SECRET)], id, seconds, body)["webhook-signature"] != VECTOR


def test_two_generations_of_a_secret_sign_beside_each_other() -> None:
    new = signing.key("whsec_" + base64.b64encode(bytes(range(32))).decode())
    told = signing.headers([new, signing.key(SECRET)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, BODY)
    first, second = told["webhook-signature"].split(" ")
    assert second == VECTOR
    assert first != VECTOR


def test_without_a_secret_only_the_signature_is_missing() -> None:
    assert set(signing.headers([], "evt_1", 5, b"")) == {"webhook-id", "webhook-timestamp"}


@cases.table("secret", ["", "plain text!", "whsec_c2hvcnQ=", "whsec_" + "QUJD" * 40, "é" * 40])
def test_what_is_no_signing_secret_is_refused_without_being_told(secret: str) -> None:
    with pytest.raises(ValueError, match="must be whsec_") as caught:
        signing.key(secret)
    assert not secret or secret not in str(caught.value)
