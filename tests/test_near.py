"""What was probably meant by a name that is not there."""

from __future__ import annotations

from core import near


def test_the_nearest_name_is_told() -> None:
    assert near.did_you_mean("ordres", ["orders", "billing"]) == " (did you mean orders?)"
    assert near.did_you_mean("ordres", ["orders", "billing"], "; did you mean {!r}?") == "; did you mean 'orders'?"
    assert near.did_you_mean("ordres", ["billing"]) == near.did_you_mean("ordres", []) == ""


def test_several_come_with_the_nearest_first() -> None:
    assert near.nearest("echo", ["echoes", "echo1", "drop"], 2) == ["echo1", "echoes"]


def test_among_many_only_alike_beginnings_are_compared() -> None:
    many = [f"job-{number:04}" for number in range(near.MANY)]
    assert near.nearest("ob-0007", [*many, "ob-0008"]) == ["ob-0008"]


def test_the_opposite_is_near_by_its_letters_alone_and_never_meant() -> None:
    assert near.nearest("output-field", ["input-field", "response"]) == []
    assert near.nearest("output-field", ["input-field", "output-fields"]) == ["output-fields"]
    assert near.nearest("max-bytes", ["min-bytes"]) == [] and near.nearest("max-byte", ["max-bytes"]) == ["max-bytes"]
