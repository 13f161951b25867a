"""No function of the sandbox runs long where its hook does not come: inside C."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.dsl.events import sandbox
from core.dsl.events.sandbox import Sandbox, ScriptError

DEADLINE_SECONDS = 240.0
ENDED_SECONDS = 1.5  # with a budget of a tenth; without the bounds it is many seconds, or for ever


@pytest.mark.parametrize("combinations", ["pairs", pytest.param("every", marks=pytest.mark.soak)])
def test_every_function_ends_soon_whatever_it_is_given(combinations: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "dsl.sandbox_child", combinations],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        told = child.communicate(timeout=DEADLINE_SECONDS)[0].splitlines()
    except subprocess.TimeoutExpired:
        child.kill()
        last = child.communicate()[0].splitlines()[-1:]
        pytest.fail(f"a call did not end: {last}")
    assert [line for line in told if line.startswith("slow")] == []
    assert told[-1] == f"ended {len(Sandbox().functions)}"


def test_what_conditions_may_name_is_what_there_is() -> None:
    there = Sandbox().functions
    assert {name for name in there if "." not in name} == {*sandbox.FUNCTIONS, *sandbox.HELPERS}
    assert {name.partition(".")[0] for name in there if "." in name} == set(sandbox.LIBRARIES)


@pytest.mark.parametrize(
    "code",
    [
        "local s = ' ' while #s < 1e7 do s = s .. s end s = s .. '1' for i = 1, 1e9 do local x = s + 0 end",
        "local s = 'x' while #s < 1e7 do s = s .. s end for i = 1, 1e9 do local a = s .. s end",
        "local s = 'x' while #s < 1e7 do s = s .. s end"
        " local a, b = s .. '1', s .. '2' for i = 1, 1e9 do c = a < b end",
        "local s = ('x'):rep(1e6) local t = {} for i = 1, 1e5 do t[i] = s end table.sort(t)",
        "local s = ('x'):rep(1e6) local t = {} for i = 1, 1e5 do t[i] = s end table.sort(t, string.lower)",
        "for i = 1, 1e9 do local s = ('x'):rep(1e6) end",
        "local s = ('x'):rep(1e6) for i = 1, 1e9 do s:upper() end",
        "local t = {} for k = 0, 16 do t[1 << k] = 1 t[(1 << k) + 1] = 1 end t[99000] = 1"
        " for i = 1, 1e9 do table.insert(t, 1, 1) end",
    ],
)
def test_what_is_short_once_ends_in_time_when_it_is_done_again_and_again(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "MAX_CPU_SECONDS", 0.1)
    script = Sandbox().script(code)
    started = time.process_time()
    with pytest.raises(ScriptError):
        script(1, {})
    assert time.process_time() - started < ENDED_SECONDS


@pytest.mark.parametrize(
    "code",
    [
        "local s = ('x'):rep(1e6) event = {} for i = 1, 9e4 do event['k' .. i] = s end",
        "local t = {} for i = 1, 4e5 do t[i] = true end return t",
        "local s = ('x'):rep(1e5) local t, u = {}, {} for i = 1, 300 do t[i] = s u['k' .. i] = t end return u",
        "local k = ('x'):rep(1e5) local t, u = {[k] = 1}, {} for i = 1, 9000 do u['k' .. i] = t end return u",
    ],
)
def test_a_result_takes_no_more_than_the_memory_of_a_job(code: str) -> None:
    with pytest.raises(ScriptError, match="the result has more than"):
        Sandbox(memory_mb=32).script(code)(1, {})


@pytest.mark.parametrize(
    "code, result",
    [
        ("event.k, event.v = ('a=' .. ('b'):rep(2000)):match('^(%w+)=(%w+)$')", {"k": "a", "v": "b" * 2000}),
        ("event.v = ('x'):rep(900) .. ' 12-34' event.v = event.v:match('(%d+)-%d+')", {"v": "12"}),
        ("event.v = ('[w-z+*]'):match('[%w+*-]+')", {"v": "w-z+*"}),
        ("event.v = ('a.b.c'):gsub('%.', '/')", {"v": "a/b/c"}),
        ("event.v = ('k'):rep(100000):find('kj', 1, true) == nil", {"v": True}),
        ("local t = {'b', 'c', 'a'} table.sort(t) event.v = table.concat(t, ',')", {"v": "a,b,c"}),
        ("local t = {3, 1, 2} table.sort(t, math.ult) event.v = t[1]", {"v": 1}),
        ("local t = {1, 2, 3} table.insert(t, 1, 9) table.remove(t, 2) event.v = t", {"v": [9, 2, 3]}),
        ("event.v = '10' + 5", {"v": 15}),
    ],
)  # fmt: skip
def test_ordinary_code_is_not_refused(code: str, result: dict[str, object]) -> None:
    assert Sandbox().script(code)(1, {}) == result


def test_a_call_that_was_ended_does_not_end_the_next_one() -> None:
    box = Sandbox(memory_mb=16, instructions=20_000)
    long, short = box.script("while true do local t = {} end"), box.script("event.ok = true")
    for _ in range(50):
        with pytest.raises(ScriptError):
            long(1, {})
        assert short(1, {}) == {"ok": True}
