"""`sluice explain`."""

from __future__ import annotations

from typing import Literal

from mcp_server.cli import connect, render, wording


async def explain(
    kind: Literal["deployment", "invocation", "workload", "job", "plan"],
    id: str,
    /,
    *,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Tell why something is as it is, and what to do next.

    Parameters
    ----------
    kind
        What sort of thing.
    id
        Its name or id; of a workload, JOB#REPLICA.
    """
    async with connect.engine(common) as engine:
        result = await engine.call("explain", kind=kind, id=id)
        engine.tell_when_idle()
    if common.json:
        render.json(result)
        return 0
    render.text(result["summary"])
    render.heading("Because")
    for cause in result["because"]:
        render.text(f"  {cause['at'] or 'now':<24}  {wording.hint(render.printable('', cause['what']))}")
    if result["next"]:
        render.heading("Next")
        for call in result["next"]:
            render.text(
                f"  {wording.command(call['call'], call['arguments'])}\n      {render.printable('', call['why'])}"
            )
    return 0
