"""The message log: a total counts what the filters leave, on whatever page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.model.message import Message
from core.store import messages as table
from tests.engines import ADMIN, engine_on

pytestmark = pytest.mark.anyio

SENT = [
    ("job-run-started", "job", "tick"),
    ("job-run-ended", "job", "tick"),
    ("job-run-ended", "job", "tick"),
    ("job-failed", "job", "tock"),
    ("user-generated", "job", "tick"),
    ("worker-online", "worker", ""),
]


def row(number: int, type: str, source: str, job: str) -> table.MessageRow:
    kind, tag = ("user", "made") if type == "user-generated" else ("system", "")
    message = Message(2**61 + number, ADMIN.tenant, kind, source, type, tag, job)
    return table.row(message, message.encode())


@pytest.mark.parametrize(
    ("operation", "filters", "total"),
    [
        ("message_search", {"type": "job-run-ended"}, 2),
        ("message_search", {"job": "tick"}, 4),
        ("message_search", {"job": "tick", "kind": "user"}, 1),
        ("message_search", {"tag": "made"}, 1),
        ("message_search", {"tag": "other"}, 0),
        ("job_notifications_recent", {}, 4),  # neither the start of a run, nor what a worker says
        ("job_notifications_recent", {"job": "tock"}, 1),
    ],
)
async def test_a_total_honours_the_filters_on_every_page(
    tmp_path: Path, operation: str, filters: dict[str, Any], total: int
) -> None:
    async with engine_on(tmp_path / "home", workers=0) as engine:
        await engine.database.write(table.insert, [row(number, *one) for number, one in enumerate(SENT)])
        cursor, seen = None, 0
        while True:
            page = await engine.call(operation, {**filters, "limit": 1, "cursor": cursor}, ADMIN)
            assert page["total"] == total
            seen += len(page["items"])
            if (cursor := page["next_cursor"]) is None:
                break
        assert seen == total
