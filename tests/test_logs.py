"""Where log lines go, and what they never hold."""

from __future__ import annotations

import logging
import sys

import pytest

from core import logs


@pytest.mark.parametrize("level", ["debug", "info"])
def test_clients_log_no_address_at_any_level(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", root.level)
    logs.configure(level)
    assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
    assert not logging.getLogger("httpcore.http11").isEnabledFor(logging.DEBUG)
    logs.configure("warning")


def test_a_process_without_stderr_is_configured_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    logs.configure("warning")
    monkeypatch.undo()
    logs.configure("warning")
