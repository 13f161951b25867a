"""How long calls of MCP tools took, by tool: each is one of ours, and all tools of triggers are one."""

from __future__ import annotations

from core.model.measure import Family, Histogram, Sample
from mcp_server.toolcall import ToolCall

TRIGGER = "trigger"


class CallTimes:
    """Of one server process; nothing here outlives it."""

    def __init__(self) -> None:
        self._seconds: dict[str, Histogram] = {}

    def observe(self, call: ToolCall, seconds: float) -> None:
        tool = call.tool if call.tool == call.operation.name else TRIGGER
        took = self._seconds.get(tool)
        if took is None:
            took = self._seconds[tool] = Histogram()
        took.observe(seconds)

    def family(self) -> Family:
        samples = [Sample(took, {"tool": tool}) for tool, took in sorted(self._seconds.items())]
        return Family("mcp_call_duration_seconds", "histogram", "Time spent on calls of MCP tools.", samples)
