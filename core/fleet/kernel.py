"""What the kernel tells of ends and standstills of processes, by proc(5); nothing where it does not tell."""

from __future__ import annotations

from pathlib import Path


def killed_for_memory() -> int:
    """How many processes this system has killed for want of memory; 0 where it does not tell."""
    try:
        text = Path("/proc/vmstat").read_text(encoding="ascii")
    except (OSError, ValueError):
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)


def stopped(pid: int | None) -> bool:
    """Whether a process was told to stand still (SIGSTOP); false where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] in "Tt"
