"""Calls every function of the sandbox with hostile arguments; says each name before, and what was slow after.

`python -m dsl.sandbox_child every|pairs`: with every combination of the arguments, or with each pair of them at each
two places. A call that never returns can only be ended with its process.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterable
from typing import Any

from core.dsl.events import sandbox

LONGEST_SECONDS = 0.25

# nil is None. The tables: one whose border is 2^62, one with a long text a hundred thousand times.
VALUES = """
local sparse, same = {}, {}
for k = 0, 61 do sparse[1 << k] = 1 sparse[(1 << k) + 1] = 1 end
local long = ("a"):rep(400000)
for i = 1, 99000 do same[i] = long end
local numeric = (" "):rep(400000) .. "1"
return {
  sparse, same, long, numeric, math.maxinteger, math.mininteger, ("a-"):rep(20) .. "b", ("%1"):rep(400), string.lower,
}
"""


def pairs(values: int, arity: int) -> Iterable[tuple[int, ...]]:
    """With more than two arguments the last one follows from the others: every two places have each pair of values."""
    if arity < 3:
        return itertools.product(range(values), repeat=arity)
    return ((*chosen, sum(chosen) % values) for chosen in itertools.product(range(values), repeat=arity - 1))


def every(values: int, arity: int) -> Iterable[tuple[int, ...]]:
    return itertools.product(range(values), repeat=arity)


def main() -> None:
    combinations = {"every": every, "pairs": pairs}[sys.argv[1]]
    sandbox.MAX_CPU_SECONDS = 0.02  # what the hook can end is not what this looks for
    box = sandbox.Sandbox(memory_mb=64)
    values = [None, *box._lua.execute(VALUES).values()]
    few = [values[1], values[3], 1, 2**62]
    for name in sorted(box.functions):
        print("begins", name, flush=True)
        worst, how = 0.0, ""
        for arity, pool in ((0, values), (1, values), (2, values), (3, values), (4, few)):
            call = box.expression(f"{name}({', '.join('abcd'[:arity])})", list("abcd"[:arity]))
            for chosen in combinations(len(pool), arity):
                spent = _time(call, [pool[n] for n in chosen])
                if spent > worst:
                    worst, how = spent, f"{chosen} of {len(pool)}"
        if worst > LONGEST_SECONDS:
            print("slow", name, f"{worst:.3f}", how, flush=True)
    print("ended", len(box.functions), flush=True)


def _time(call: Any, arguments: list[Any]) -> float:
    started = time.process_time()
    try:
        call(1, *arguments)
    except Exception:  # a refusal is as good as a result: how long it took is the question
        pass
    return time.process_time() - started


if __name__ == "__main__":
    main()
