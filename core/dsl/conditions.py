"""Lua for `condition` and `script`: expressions over the fields of one event, in a sandbox."""

from __future__ import annotations

from typing import Annotated

Condition = Annotated[str, "lua"]
