"""The numbers that names of objects may hold, `_BATCH_NUMBER` and `__SCHEMA_NUMBER`, kept across restarts."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson

from core.dsl.component import Env, Run
from core.dsl.files.memory import Places

RESERVED = 1000  # numbers that one write to the disk sets aside
_DEPTH = 32


class Numbers:
    """Sets `run.stat` for each group of events before its name is made.

    `_BATCH_NUMBER` counts groups from 1 and never goes back, also not after a crash (then it leaves a gap), so that
    a name made of it alone never hits an object that was written before. `_BATCH_SIZE` is the number of events.
    """

    def __init__(self, state_dir: Path, *, track_schema: bool) -> None:
        self._memory = Places(state_dir / "numbers.json")
        self._next = int(self._memory.data.get("batch", 0))
        self._reserved = self._next
        self._track_schema = track_schema

    def begin(self, datas: list[bytes], run: Run, env: Env) -> None:
        """A new group whose events have this content."""
        self._next += 1
        if self._next > self._reserved:
            self._reserved = self._next + RESERVED
            self._memory.set("batch", self._reserved, every_seconds=0.0)
        run.stat["_BATCH_NUMBER"] = self._next
        run.stat["_BATCH_SIZE"] = len(datas)
        if self._track_schema:
            run.stat["__SCHEMA_NUMBER"] = self._schema_number(datas, run, env)

    def _schema_number(self, datas: list[bytes], run: Run, env: Env) -> int:
        """The number of the schema of these events: one more whenever it differs from that of the group before."""
        schema: dict[str, str] = {}
        for data in datas:
            try:
                _collect(orjson.loads(data), "", schema, _DEPTH)
            except orjson.JSONDecodeError:
                run.refuse(env, "track-schema: what is written is not JSON and has no schema")
        digest = hashlib.blake2b(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
        known = self._memory.data.get("schema") or {"number": 0, "digest": ""}
        if known["digest"] != digest:
            known = {"number": known["number"] + 1, "digest": digest}
            self._memory.set("schema", known, every_seconds=0.0)
        return int(known["number"])

    def close(self) -> None:
        """Give back the numbers that were set aside and not used."""
        if self._reserved != self._next:
            self._memory.set("batch", self._next, every_seconds=0.0)
            self._reserved = self._next
        self._memory.save()


def _collect(value: Any, pointer: str, schema: dict[str, str], depth: int) -> None:
    """Add the fields below a value and their JSON types; null says nothing of a field that has a type."""
    if isinstance(value, dict) and depth:
        for key, inner in value.items():
            _collect(inner, f"{pointer}/{key}", schema, depth - 1)
        return
    kind = _TYPES.get(type(value), "object")
    known = schema.get(pointer)
    if known is None or known == "null":
        schema[pointer] = kind
    elif kind not in ("null", *known.split("|")):
        schema[pointer] = "|".join(sorted([*known.split("|"), kind]))


_TYPES: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    list: "array",
    type(None): "null",
}
