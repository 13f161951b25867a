"""Every list as a terminal of 80 columns shows it, and as a pipe gets it: the files in screens/.

They are made anew with: SLUICE_SCREENS=write .venv/bin/pytest -p no:xdist tests/mcp_server/cli/test_screens.py
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from core import clock
from mcp_server.cli import connect, main, render, tables
from mcp_server.cli.forms import FORMS

SCREENS = Path(__file__).with_name("screens")
NOW = "2026-03-01T12:00:00.000Z"
WIDTH = 80
TYPED = {"worker secrets": "edge-1", "job list": "", "kv list": "settings", "runs list": "", "workflow list": ""}
BESIDE = ("status", "messages", "catalog search", "history web", "invocation callbacks")

LONG = "nightly-import-of-invoices--print--roundtrip-reader"
SAMPLES: dict[str, tuple[Any, Any]] = {
    # column -> its value in two rows; a column means the same in every list
    "action": ("apply", "rollback"),
    "active": (True, False),
    "at": ("2026-03-01T11:58:00.000Z", "2026-02-27T12:00:00.000Z"),
    "attempts": (1, 12),
    "availability": ("installed", "portal-only"),
    "base_revision": (3, 0),
    "by": ("ada", "grace"),
    "caller": ("ada", "grace"),
    "capacity": (128, 64),
    "cause": ("interval", "message"),
    "code": ("invalid_event", "timed_out"),
    "count": (1, 3200),
    "created_at": ("2026-03-01T11:30:00.000Z", "2026-02-01T12:00:00.000Z"),
    "dead": (0, 4),
    "decision": ("allowed", "forbidden"),
    "depth": (10, 0),
    "deployment": ("web", "nightly-import-of-invoices"),
    "display_name": ("Smoke test", "Re-drive what the mailbox has refused since this morning"),
    "draft": (None, 2),
    "drift": (0, 2),
    "duration_ms": (12, 30112),
    "effect": ("write", "read"),
    "ended_at": ("2026-03-01T11:59:30.000Z", None),
    "event_id": ("evt_0123456789abcdef", "evt_fedcba9876543210"),
    "events_in": (1200, 0),
    "events_out": (1200, 0),
    "expires_at": ("2026-03-01T12:10:00.000Z", "2026-03-02T12:00:00.000Z"),
    "finished_at": ("2026-03-01T11:59:00.000Z", None),
    "group": ("default", "etl"),
    "health": ("healthy", "degraded"),
    "id": ("lt_0123456789abcdef", "lt_fedcba9876543210"),
    "invocation_id": ("inv_0123456789abcdef", "inv_fedcba9876543210"),
    "job": ("web--generate", LONG),
    "job_name": ("web--generate", LONG),
    "jobs": (3, 64),
    "key": ("region", "retries"),
    "kind": ("local", "external"),
    "label": (None, "night shift"),
    "labels": ([], ["gpu", "berlin"]),
    "last_heartbeat_at": ("2026-03-01T11:59:58.000Z", "2026-02-28T00:00:00.000Z"),
    "last_scheduled": ("2026-03-01T11:45:00.000Z", None),
    "leased": (1, 0),
    "level": ("global", "job"),
    "managed_by": ("web", None),
    "may_run": (True, False),
    "message_data": ({"n": 1}, {"text": "a message that goes on for longer than anybody reads at a terminal"}),
    "message_type": ("done", "failed"),
    "missed": (0, 2),
    "name": ("web", LONG),
    "namespace": ("settings", "tickets"),
    "new": ("eu", 5),
    "next": ("2026-03-01T12:15:00.000Z", "2026-03-02T12:00:00.000Z"),
    "old": (None, 3),
    "on_time": (True, False),
    "online": (2, 0),
    "operation": ("deployment_apply", "trigger_invoke"),
    "outcome": ("ok", "failed"),
    "payload": ({"n": 1}, {"n": 2}),
    "pid": (4242, None),
    "plan_id": ("plan_0123456789abcdef", "plan_fedcba9876543210"),
    "reason": (None, "the output of nightly-import-of-invoices--print refuses what it is given: no space left"),
    "receiver": ("https://hooks.example/done", "https://hooks.example/failed"),
    "reconcile": ("auto", "manual"),
    "refused": (0, 17),
    "requested_at": ("2026-03-01T11:58:48.000Z", "2026-02-28T12:00:00.000Z"),
    "rerun_of": (None, "inv_0123456789abcdef"),
    "restarts": (0, 3),
    "revision": (1, 12),
    "role": ("admin", "user"),
    "run_id": ("run_0123456789abcdef", "run_fedcba9876543210"),
    "sandbox": ("full", "partial"),
    "schedule": ("every 15m", "0 12 * * *"),
    "since": ("2026-03-01T11:59:13.000Z", "2026-02-28T12:00:00.000Z"),
    "skipped": (0, 1),
    "slots": (64, 64),
    "slug": ("greetings", "nightly-import-of-invoices"),
    "source": ("workflow:greetings@2", "workflow:nightly-import-of-invoices@14"),
    "state": ("running", "failed"),
    "states": (["published"], ["draft", "published"]),
    "status": ("open", "replayed"),
    "step": ("generate", "print"),
    "surface": ("cli", "http"),
    "tag": ("go", "orders"),
    "target": ("web", "nightly-import-of-invoices"),
    "target_job_name": ("handler", LONG),
    "target_up": (True, False),
    "tenant_id": ("default", "tenant-a"),
    "tenants": (["default"], ["tenant-a", "tenant-b"]),
    "title": ("Greetings", "Bring the invoices of the night into the store, and tell who waits for them"),
    "tool": ("status", "trigger_invoke_smoke_trigger"),
    "tool_name": ("trigger_invoke_smoke", None),
    "transport": ("stdio", "http"),
    "trigger_revision": (1, 7),
    "trigger_slug": ("smoke_trigger", "redrive_the_mailbox"),
    "tries": ([{"at": "2026-03-01T11:58:00.000Z", "status": 200}], []),
    "type": ("workflow", "blueprint"),
    "updated_at": ("2026-03-01T10:00:00.000Z", "2026-02-01T12:00:00.000Z"),
    "updated_by": ("ada", "grace"),
    "used_by": (["web--generate"], []),
    "username": ("ada", "grace"),
    "value": ("eu", {"limit": 10, "text": "a value that goes on for longer than anybody reads at a terminal"}),
    "version": (2, 14),
    "worker": ("local-1", "edge-berlin-1"),
    "worker_id": ("local-1", "edge-berlin-1"),
    "workload": ("web--generate#0", LONG + "#11"),
    "workloads": ("4/4", "1/2"),
}


class Engine:
    """Answers every list with the same two rows."""

    async def call(self, operation: str, /, **given: Any) -> dict[str, Any]:
        rows = [{name: values[number] for name, values in SAMPLES.items()} for number in range(2)]
        if operation == "job_list":
            up = [{"workload": "web--generate#0", "worker": "local-1", "state": "running"}]
            rows = [{**rows[0], "workloads": up}, {**rows[1], "workloads": []}]
        return {"items": rows, "next_cursor": "25" if operation == "audit_list" else None, "total": 2}

    async def pages(self, operation: str, /, **given: Any) -> AsyncIterator[dict[str, Any]]:
        yield {"items": []}

    async def trouble(self) -> str:
        return ""

    def runs(self) -> bool:
        return False

    def tell_when_idle(self) -> None:
        pass


def lists() -> list[str]:
    """What is typed for every list."""
    of_forms = [f"{form.path} {TYPED.get(form.path, '')}".strip() for form in FORMS.values() if form.empty]
    return [*of_forms, *BESIDE]


@pytest.mark.parametrize("name", ["80", "pipe"])
def test_every_list_looks_as_its_screen(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextlib.asynccontextmanager
    async def opened(common: connect.Common, *, follows: bool = False) -> AsyncIterator[Engine]:
        yield Engine()

    monkeypatch.setattr(connect, "engine", opened)
    monkeypatch.setattr(clock, "now_ns", lambda: int(1772366400e9))
    monkeypatch.setattr(render, "watched", lambda: name == "80")
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("NO_COLOR", "1")
    screens = []
    for typed in lists():
        assert main.run(typed.split()) == 0
        said = capsys.readouterr()
        screens.append(f"$ sluice {typed}\n{said.out}{''.join(f'2> {line}' for line in said.err.splitlines(True))}")
        if name == "80":
            assert max(map(tables.cells_of, said.out.splitlines())) <= WIDTH, "nothing is left for the terminal to fold"
        for told in (said.out, said.err) if name == "pipe" else ():
            assert "\x1b" not in told and "…" not in told
    found = "\n".join(screens)
    file = SCREENS / f"{name}.txt"
    if os.environ.get("SLUICE_SCREENS") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8"), "see the head of this file for how screens are made anew"


def test_a_pipe_gets_a_name_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    @contextlib.asynccontextmanager
    async def opened(common: connect.Common, *, follows: bool = False) -> AsyncIterator[Engine]:
        yield Engine()

    monkeypatch.setattr(connect, "engine", opened)
    assert main.run(["runs", "list", "-o", "name"]) == 0
    assert capsys.readouterr().out == "run_0123456789abcdef\nrun_fedcba9876543210\n"
    assert main.run(["-o", "name", "workload", "list"]) == 0
    assert capsys.readouterr().out == f"web--generate#0\n{LONG}#11\n"
    assert main.run(["job", "list", "-o", "yaml"]) == 0
    assert "  name: web\n" in capsys.readouterr().out
    assert main.run(["job", "list", "-o", "folded"]) == 2
