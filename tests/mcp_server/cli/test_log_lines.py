"""How lines of logs, which jobs and their sources write, are shown in a terminal."""

from __future__ import annotations

import pytest

from mcp_server.cli import job_log

AT = "2026-11-28T00:59:59.000Z"


def shown(text: str, fields: str = "") -> str:
    return job_log.render_line(AT, "print", text, fields)


def test_a_text_of_several_lines_cannot_look_like_lines_of_the_log() -> None:
    forged = "2026-11-28T01:00:00.000Z error   FORGED"
    for end in ("\n", "\r\n"):
        assert shown(f"ok{end}{forged}").split("\n") == [f"{AT} print   ok", f"    | {forged}"]
    for end in ("\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"):
        assert "\n" not in shown(f"ok{end}{forged}") and end not in shown(f"ok{end}{forged}")


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("a\x1b[2Kb", "a\\x1b[2Kb"),
        ("a\x07b\x00c", "a\\x07b\\x00c"),
        ("a\x1b]0;title\x07b", "a\\x1b]0;title\\x07b"),
        ("a\u202eb", "a\\u202eb"),
        ("a\tb ü €", "a\tb ü €"),
    ],
)
def test_colours_are_left_out_and_other_control_characters_can_be_seen(written: str, seen: str) -> None:
    assert shown(written) == f"{AT} print   {seen}"


def test_the_fields_of_a_line_stand_behind_its_text() -> None:
    assert shown("sent", '{"n":1}') == f'{AT} print   sent {{"n":1}}'
