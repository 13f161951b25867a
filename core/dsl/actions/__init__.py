"""Actions: what happens to an event between input and output. Importing this package registers every one."""

from __future__ import annotations

from core.dsl.actions import assert_, convert, extract, fields, filter, flatten, json, script, signal, time

__all__ = ["assert_", "convert", "extract", "fields", "filter", "flatten", "json", "script", "signal", "time"]
