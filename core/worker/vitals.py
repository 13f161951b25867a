"""How a worker process itself is doing: memory, and how late its event loop is."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Vitals:
    """Figures of this process."""

    def __init__(self) -> None:
        self.loop_lag_seconds = 0.0  # how late the last heartbeat was

    def report(self) -> dict[str, Any]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "memory_bytes": resident_bytes(),
            "memory_peak_bytes": usage.ru_maxrss * 1024,
            "processor_seconds": round(usage.ru_utime + usage.ru_stime, 3),
            "loop_lag_seconds": round(self.loop_lag_seconds, 4),
        }


def resident_bytes() -> int:
    """Memory of this process that is in RAM; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0
