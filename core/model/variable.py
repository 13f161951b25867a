"""What a dynamic variable may be called, and how long its text may be (`${dyn|NAME}`)."""

from __future__ import annotations

NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$"
MAX_CHARACTERS = 64 * 1024
