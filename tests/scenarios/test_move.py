"""An engine moves to another machine, typed as docs/upgrade.md says it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mcp_server.cli import stage
from tests import waiting
from tests.backup.archives import PASSPHRASE
from tests.engines import EXAMPLES

ROOT = Path(__file__).parents[2]
SECTION = "## Move an engine to another machine"
BLOCK = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)


def typed() -> list[str]:
    """The commands of the walk, in order."""
    text = (ROOT / "docs" / "upgrade.md").read_text(encoding="utf-8").partition(SECTION)[2].partition("\n## ")[0]
    return [line for block in BLOCK.findall(text) for line in block.splitlines()]


class Machine:
    """A user's directory, as good as a machine of its own; /srv of both is one, as if somebody carried a disk over."""

    def __init__(self, place: Path, srv: Path) -> None:
        place.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "XDG_"))}
        self.environment = {**kept, "HOME": str(place), "SLUICE_PORT": "0", "SLUICE_TENANT": "tenant-a"}
        self.place, self.srv = place, srv

    def words(self, line: str) -> list[str]:
        """What a shell makes of a line of one command."""
        program, *words = shlex.split(line.replace("/srv/", f"{self.srv}/"))
        return [stage.program(program), *words]

    def type(self, line: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.words(line), cwd=self.place, env=self.environment, capture_output=True, text=True, timeout=90
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, line: str) -> Any:
        return json.loads(self.type(f"{line} --json").stdout)

    @contextmanager
    def serving(self, line: str) -> Iterator[None]:
        log = self.place / "serve.log"
        with log.open("wb") as out:
            server = subprocess.Popen(self.words(line), cwd=self.place, env=self.environment, stdout=out, stderr=out)
        try:
            waiting.until_now(
                lambda: any(one.startswith(stage.LISTENS) for one in waiting.lines(log)), seconds=3 * waiting.SECONDS
            )
            yield
        finally:
            server.terminate()
            server.wait(timeout=30)


def test_an_engine_moves_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "srv" / "move").mkdir(parents=True)
    (tmp_path / "srv" / "move" / "passphrase").write_text(PASSPHRASE + "\n")
    old, new = Machine(tmp_path / "old", tmp_path / "srv"), Machine(tmp_path / "new", tmp_path / "srv")
    commands = typed()
    assert [line.split()[1] for line in commands] == ["backup", "backup", "restore", "serve"]
    with old.serving("sluice serve"):
        old.type(f"sluice trigger publish -f {EXAMPLES}/smoke_trigger.json")
        old.type(f"sluice job put -f {EXAMPLES}/smoke_trigger_handler.yaml")
        old.type("sluice job deploy smoke_trigger_handler")
        ran = old.json("sluice trigger invoke smoke_trigger --set env=prod")
        (old.place / "secret").write_text("hunter2\n")
        old.type("sluice secret set global/api --from-file secret")
        key = (old.place / ".local/share/sluice/admin.token").read_text()
    data = old.place / ".local/share/sluice-data/tenant-a"
    data.mkdir(parents=True, exist_ok=True)
    (data / "events.txt").write_text("events")
    old.type(commands[0])
    whole, restored = (new.type(line) for line in commands[1:3])
    assert "is whole" in whole.stdout + whole.stderr
    said = restored.stdout + restored.stderr
    assert "--adopt" in said and "SLUICE_* variables" in said
    with new.serving(commands[3]):
        found = new.json(f"sluice invocation get {ran['invocation_id']}")
        assert found["state"] == "succeeded"
        again = waiting.until_now(lambda: new.json("sluice trigger invoke smoke_trigger --set env=dev"))
        assert again["state"] == "succeeded"
        assert [one["name"] for one in new.json("sluice secret list")["items"]] == ["global/api"]
    assert (new.place / ".local/share/sluice/admin.token").read_text() == key
    assert (new.place / ".local/share/sluice-data/tenant-a/events.txt").read_text() == "events"
