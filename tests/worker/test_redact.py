"""Secrets are taken out of what a worker says, in every form in which they travel; everything else stays as it is."""

from __future__ import annotations

import base64
import io
import json
from typing import SupportsIndex
from urllib.parse import quote, quote_plus

from hypothesis import given
from hypothesis import strategies as st

from core.errors import shorten
from core.worker.redact import MASK, Redactor, Stream
from tests import cases

SECRET = 'p"ä/s+w\\ord\n42%'


def knowing(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.learn(value)
    return redactor


FORMS = {
    "plain": SECRET,
    "json": json.dumps(SECRET)[1:-1],
    "json without escapes": json.dumps(SECRET, ensure_ascii=False)[1:-1],
    "url": quote(SECRET, safe=""),
    "path": quote(SECRET),
    "form": quote_plus(SECRET),
    "python": repr(SECRET)[1:-1],
    "hex": SECRET.encode().hex(),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "url-safe base64": base64.urlsafe_b64encode(SECRET.encode()).decode(),
}


@cases.table("form", FORMS.values(), ids=FORMS)
def test_every_form_of_a_secret_is_masked(form: str) -> None:
    assert knowing(SECRET).text(f"before {form} after") == f"before {MASK} after"


@cases.table("before", ["", "u", "us", "use", "user:"])
@cases.table("after", ["", "x", "xy", "xyz"])
def test_base64_of_something_with_a_secret_inside_gives_nothing_of_it_away(before: str, after: str) -> None:
    whole = base64.b64encode(f"{before}{SECRET}{after}".encode()).decode()
    left = knowing(SECRET).text(f"Basic {whole}").removeprefix("Basic ")
    assert MASK in left
    assert len(left.replace(MASK, "")) <= 4 * ((len(before) + 2) // 3) + 4 * ((len(after) + 2) // 3) + 8


@given(st.text(min_size=4, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_no_text_keeps_a_secret(secret: str, before: str, after: str) -> None:
    assert secret not in knowing(secret).text(before + secret + after).replace(MASK, "\0")


@given(st.text(alphabet="abc", min_size=8, max_size=40), st.text(alphabet="xyz", max_size=400), st.integers(5, 120))
def test_a_text_that_was_cut_does_not_end_with_half_a_secret(secret: str, before: str, limit: int) -> None:
    cut = shorten(before + secret, limit)
    clean = knowing(secret).text(cut)
    assert not any(secret[:size] in clean for size in range(4, len(secret) + 1))


def test_values_inside_json_are_masked_and_the_others_keep_their_types() -> None:
    redactor = knowing("s3cr3t", "123456", "7777")
    value = {"a s3cr3t": ["s3cr3t", 123456, 1.5, None, True, 7777], "n": {"deep": "x s3cr3t"}}
    assert redactor.value(value) == {"a ***": [MASK, MASK, 1.5, None, True, 7777], "n": {"deep": "x ***"}}


def test_short_values_are_left_alone_because_they_are_everywhere() -> None:
    assert knowing("abc").text("abc") == "abc"


def test_the_lines_of_a_key_file_are_masked_one_by_one() -> None:
    pem = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----"
    assert knowing(pem).text("got hkiG9w0BAQEFAASC there") == "got *** there"


def test_a_secret_that_contains_another_one_is_masked_whole() -> None:
    assert knowing("hunter2", "hunter2-and-more").text("hunter2-and-more hunter2") == "*** ***"


def test_a_stream_masks_what_is_written_and_counts_what_it_was_given() -> None:
    inner = io.StringIO()
    stream = Stream(inner, {"t": knowing("hunter2")})
    assert stream.write("Traceback: hunter2\n") == 19
    stream.flush()
    assert inner.getvalue() == "Traceback: ***\n"


@given(st.text(alphabet="abc", min_size=8, max_size=40), st.text(alphabet="xyz", max_size=200), st.integers(5, 120))
def test_the_beginning_of_a_text_has_no_half_secret_and_is_that_of_the_whole(
    secret: str, before: str, most: int
) -> None:
    redactor, text = knowing(secret, "yxzzy"), before + secret + before + secret + before
    beginning = redactor.beginning(text, most)
    assert len(beginning) <= most
    assert redactor.text(text).startswith(beginning.rstrip("*"))


def test_of_a_long_text_only_what_is_kept_is_looked_through() -> None:
    class Text(str):
        read = 0

        def __getitem__(self, key: SupportsIndex | slice) -> str:
            part = str.__getitem__(self, key)
            Text.read += len(part)
            return part

        def lower(self) -> str:
            raise AssertionError("the whole text is looked through")

    secret = "s3cr3t-Value-9988"
    assert knowing(secret).beginning(Text(secret + "y" * 10_000_000), 1000) == MASK + "y" * (1000 - len(secret))
    assert Text.read < 3000


@given(st.text(min_size=4, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_a_value_without_a_secret_is_told_from_one_by_its_json(secret: str, before: str, after: str) -> None:
    redactor = knowing(secret)
    for form in [secret, repr(secret)[1:-1], quote(secret.encode(errors="replace")), json.dumps(secret)[1:-1]]:
        value = {before + form: [1, form + after]}
        assert redactor.may_be_in(json.dumps(value, ensure_ascii=False)) or redactor.value(value) == value
