"""`sluice catalog` with portals: the walk of docs/catalog.md, over a directory and over real HTTPS."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import orjson
import pytest

from core.catalog.portal import parse
from mcp_server.cli import main
from tests.engines import served
from tests.portals import DOCUMENTS, SOURCE, https

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "catalog.md").read_text(encoding="utf-8")
WALK = [line for block in re.findall(r"^```sh\n(.*?)^```", GUIDE, re.M | re.S) for line in block.splitlines()]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLUICE_WORKERS", "0")
    monkeypatch.delenv("SLUICE_PORTALS", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main.run(words)
    done = capsys.readouterr()
    return code, done.out, done.err


@pytest.fixture
def location(request: pytest.FixtureRequest, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "directory":
        yield "./team-catalog"
        return
    with https(place / "team-catalog", place / "tls") as server:
        monkeypatch.setenv("SLUICE_PORTAL_CA_FILE", str(server.certificate))
        monkeypatch.setenv("SLUICE_EGRESS_ALLOW", "127.0.0.1")
        yield server.url


@pytest.mark.parametrize("location", ["directory", "https"], indirect=True)
def test_the_walk_of_the_guide_works(
    location: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    for line in WALK:
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            monkeypatch.setenv(name, value.replace("./team-catalog", location))
        elif line.startswith("sluice "):
            with served(place / "home") if line.startswith("sluice plan ") else nullcontext():
                code, out, err = run(capsys, *shlex.split(line)[1:])
            assert code == 0, f"{line}: {out}{err}"
            seen.append(out)
        else:
            subprocess.run(line, shell=True, check=True)
    text = "\n".join(seen)
    for part in ("Team catalog", "ready", "portal-only", "update-available", "1.1.0", "Prints a tick"):
        assert part in text, part
    assert "job clock--" in re.sub(" +", " ", text)
    assert len(seen) == 12


def test_the_index_of_the_guide_is_one() -> None:
    (example,) = re.findall(r"^```json\n(.*?)^```", GUIDE, re.M | re.S)
    assert parse(example.encode(), "of the guide").items[0].slug == "ticks"


def test_show_tells_provenance_and_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "catalog", "show", "quickstart-file-store-roundtrip")
    assert code == 0
    assert "sluice plan quickstart-file-store-roundtrip --from workflow:quickstart-file-store-roundtrip@1" in out
    assert "author" in out
    code, out, _ = run(capsys, "catalog", "show", "heartbeat", "--type", "job", "--document")
    assert (code, out.splitlines()[0]) == (0, "name: heartbeat")


def test_pack_prints_faults_as_compilers_do(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "shop").mkdir()
    file = place / "shop" / "ticks.yaml"
    file.write_text(SOURCE.replace("port: out", "port: aut"), encoding="utf-8")
    code, _, err = run(capsys, "catalog", "pack", str(place / "shop"))
    assert code == 1
    assert f"{file}:13:15: No job writes to the out port out" in err
    code, _, err = run(capsys, "catalog", "pack", str(place / "nowhere"))
    assert (code, "not a directory" in err) == (1, True)


def test_every_command_of_portals_answers_in_json(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = place / "shop"
    shop.mkdir()
    for name, text in DOCUMENTS.items():
        (shop / f"{name}.yaml").write_text(text, encoding="utf-8")
    packed = orjson.loads(run(capsys, "catalog", "pack", str(shop), "--json")[1])
    assert packed["total"] == 4
    monkeypatch.setenv("SLUICE_PORTALS", f"shop={shop},gone={place / 'nowhere'}")
    states = orjson.loads(run(capsys, "catalog", "portals", "--json")[1])["items"]
    assert [one["state"] for one in states] == ["ready", "unavailable"]
    done = orjson.loads(run(capsys, "catalog", "install", "ticks", "--json")[1])
    assert done["ref"] == "blueprint:ticks@1.0.0"
    assert orjson.loads(run(capsys, "catalog", "update", "--json")[1])["total"] == 0
    gone = orjson.loads(run(capsys, "catalog", "uninstall", "ticks", "--version", "1.0.0", "--json")[1])
    assert gone["uninstalled"] == ["1.0.0"]
    code, _, err = run(capsys, "catalog", "install", "nothing")
    assert (code, "cannot be read" in err) == (1, True)  # the portal that is gone may well have it
    code, _, err = run(capsys, "catalog", "search", "zzz")
    assert (code, "portal gone is unavailable" in err) == (0, True)
