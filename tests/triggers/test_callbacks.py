"""What a callback may be, and what follows from each answer: the rules alone."""

from __future__ import annotations

import pytest

from core import errors
from core.triggers import callbacks, posting
from core.triggers.callbacks import Callback
from core.triggers.posting import Answer
from tests import cases


def faults(url: str = "https://a.example/x", headers: dict[str, str] | None = None, allow: tuple[str, ...] = ()) -> str:
    with pytest.raises(errors.InvalidParams) as caught:
        posting.check(Callback(url=url, headers=headers or {}), allow)
    return str(caught.value)


@cases.table(
    "url",
    """http://127.0.0.1/ http://localhost/ http://LOCALHOST./ http://a.localhost/ http://[::1]/ http://0.0.0.0/ http://0/
    http://127.1/ http://2130706433/ http://0x7f000001/ http://0x7f.1/ http://0177.0.0.1/ http://①②⑦.⓪.⓪.①/
    http://ⓛocalhost/ http://169.254.169.254/latest http://[fd00:ec2::254]/ http://168.63.129.16/
    http://100.100.100.200/ http://10.0.0.1/ http://172.16.0.1/ http://192.168.1.1/ http://100.64.0.1/
    http://192.0.0.1/ http://198.18.0.1/ http://224.0.0.1/ http://240.0.0.1/ http://255.255.255.255/
    http://[::ffff:169.254.169.254]/ http://[::ffff:a9fe:a9fe]/ http://[64:ff9b::a9fe:a9fe]/ http://[64:ff9b:1::1]/
    http://[2002:7f00:1::]/ http://[2001:0:7f00:1::]/ http://[fec0::1]/ http://[fe80::1%25eth0]/ http://[::127.0.0.1]/
    http://a.com\\@127.0.0.1/ http://a.com@127.0.0.1/ http://u:p@a.com/ http:/127.0.0.1/ http:127.0.0.1/
    http://[127.0.0.1]/ http://a.com:0/ http://a.com:99999/ http://a.com:0x50/ http://xn--/ ftp://a.com/
    file:///etc/passwd gopher://a.com/ data:text/plain,x //a.com/ a.com""".split(),
)
def test_an_address_that_may_not_be_reached_or_read_in_two_ways_is_refused(url: str) -> None:
    assert "/callback/url" in faults(url)


@cases.table("url", ["http://a.com/\tx", "http://a.com/\r\nX: y", "http://a b.com/", "http://a\0.com/"])
def test_an_address_with_spaces_or_control_characters_is_refused(url: str) -> None:
    assert "/callback/url" in faults(url)


def test_an_administrator_opens_receivers_by_block() -> None:
    target = posting.check(Callback(url="http://127.0.0.1:8080/x"), ("127.0.0.0/8",))
    assert target.receiver == "http://127.0.0.1:8080"
    assert "/callback/url" in faults("http://10.0.0.1/", allow=("127.0.0.0/8",))


@pytest.mark.parametrize(
    ("url", "receiver"),
    [
        ("https://Hooks.Example./t0ken?key=1", "https://hooks.example:443"),
        ("http://hooks.example/", "http://hooks.example:80"),
        ("https://[2606:4700::1]:8443/x", "https://[2606:4700::1]:8443"),
    ],
)
def test_a_receiver_is_named_without_what_may_be_a_credential(url: str, receiver: str) -> None:
    assert posting.check(Callback(url=url), ()).receiver == receiver


@cases.table(
    "name",
    """Host Content-Length Transfer-Encoding Connection Upgrade TE Trailer Keep-Alive Proxy-Authorization
    Proxy-Connection Expect Content-Type webhook-id Webhook-Timestamp webhook-signature""".split(),
)
def test_headers_of_the_connection_and_of_sluice_are_refused(name: str) -> None:
    assert f"/callback/headers/{name}" in faults(headers={name: "x"})


@cases.table(
    ("name", "value"),
    [
        ("x y", "1"),
        ("x\r\n", "1"),
        ("", "1"),
        ("ü", "1"),
        ("x", "a\r\nevil: 1"),
        ("x", "a\0b"),
        ("x", "é"),
        ("x", "\x7f"),
    ],
)
def test_a_header_that_is_none_is_refused_and_its_value_never_told(name: str, value: str) -> None:
    said = faults(headers={name: value + "s3cret"})
    assert "/callback/headers/" in said
    assert "s3cret" not in said


def test_every_fault_is_told_at_once() -> None:
    said = faults("http://10.0.0.1/", {"host": "a", "x y": "b", "X-A": "1", "x-a": "2"})
    assert said.count("/callback/") == 4


@pytest.mark.parametrize("count", [32, 33])
def test_at_most_thirty_two_headers(count: int) -> None:
    headers = {f"x-{n}": "v" for n in range(count)}
    if count > 32:
        with pytest.raises(ValueError, match="at most 32"):
            Callback(url="https://a.example/", headers=headers)
    else:
        assert posting.check(Callback(url="https://a.example/", headers=headers), ()).headers == headers


@cases.table("status", [200, 201, 202, 204, 299])
def test_every_success_is_an_acceptance(status: int) -> None:
    assert posting.judge(1, Answer(status, "", "")).outcome == "delivered"


@cases.table("status", [301, 302, 303, 307, 308, 304, 400, 401, 403, 404, 409, 410, 422, 499])
def test_what_will_not_change_is_given_up_at_once(status: int) -> None:
    assert posting.judge(1, Answer(status, "5", "")).outcome == "dead"


@cases.table("status", [408, 429, 500, 502, 503, 504, 599, None])
def test_what_may_pass_is_tried_five_times_with_growing_pauses(status: int | None) -> None:
    verdicts = [posting.judge(n, Answer(status, "", "cannot reach it")) for n in range(1, 6)]
    assert [one.outcome for one in verdicts] == ["pending"] * 4 + ["dead"]
    pauses = [one.pause_seconds for one in verdicts[:4]]
    assert pauses == sorted(pauses)
    for pause, middle in zip(pauses, posting.PAUSES_SECONDS, strict=True):
        assert 0.8 * middle <= pause <= 1.2 * middle


@cases.table(
    ("value", "least", "most"),
    [
        ("120", 120, 120),
        ("1000000000", 3600, 3600),
        ("-5", 1, 3),
        ("0", 1, 3),
        ("soon", 1, 3),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1, 3),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 3600, 3600),
    ],
)
def test_retry_after_is_kept_between_a_second_and_an_hour(value: str, least: float, most: float) -> None:
    assert least <= posting.judge(1, Answer(429, value, "")).pause_seconds <= most


def test_event_ids_are_read_back_and_nothing_else_is() -> None:
    assert callbacks.parse_event_id(callbacks.event_id(1795579607000000001)) == 1795579607000000001
    for text in ("", "evt_", "evt_x", "inv_0000000000000001", "0000000000000001", "evt_00000000000000010"):
        assert callbacks.parse_event_id(text) is None
