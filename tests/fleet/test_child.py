from __future__ import annotations

import subprocess
import sys

import pytest

from core.fleet import child
from core.settings import Settings


def test_a_worker_gets_credentials_of_clouds_only_when_the_administrator_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_clouds = ("AWS_ACCESS_KEY_ID", "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_CLIENT_ID")
    for name in (*of_clouds, "GITHUB_TOKEN", "MY_AWS_KEY"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in child.environment().values()  # never there: a library would mix them with a document's
    assert child.cloud_variables(Settings()) is None
    given = child.cloud_variables(Settings(cloud_credentials=True))
    assert given is not None
    assert {name for name, value in given.items() if value == "secret"} == set(of_clouds)
    assert "PATH" in child.environment()


@pytest.mark.parametrize("said", [b"", b'{"name": "local-1"', b'{"name": "local-1"}'])
def test_a_worker_whose_engine_was_killed_before_it_had_said_everything_ends_without_a_word(said: bytes) -> None:
    command = [sys.executable, "-P", "-m", "core.worker", "--fd", "0", "--witness", "0"]
    ended = subprocess.run(command, input=said, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, b"", b"")
