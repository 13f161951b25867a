"""The image and the services of compose.yaml, as far as they can be looked at without a container runtime.

.ci/container does their steps in a bare Debian; what it types is held here to what stands in the files.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml

from mcp_server.cli import main, stage

ROOT = Path(__file__).parents[2]
CONTAINER = ROOT / "packaging" / "container"
IMAGE = (ROOT / "Containerfile").read_text(encoding="utf-8")
STEPS = (CONTAINER / "install.sh").read_text(encoding="utf-8")
TYPED = " ".join((ROOT / ".ci" / "container").read_text(encoding="utf-8").replace("\\\n", " ").split())
pytestmark = pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="this is not a checkout")


def instruction(name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", IMAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return services


def test_the_image_has_one_step_and_runs_as_nobody_else() -> None:
    (run,) = instruction("RUN")
    assert run.endswith('sh /src/packaging/container/install.sh "$SLUICE"')
    (user,) = instruction("USER")
    assert f"--uid {user.partition(':')[0]} " in STEPS and user != "0:0"
    (health,) = instruction("HEALTHCHECK")
    assert "/usr/local/bin/sluice-healthcheck" in STEPS and 'CMD ["sluice-healthcheck"]' in health
    (volume,) = instruction("VOLUME")
    for value in re.findall(r"=(\S+)", instruction("ENV")[0]):
        assert value.startswith(f"{volume}/")


def test_the_services_run_what_the_fresh_machine_runs(services: dict[str, Any]) -> None:
    for name, service in services.items():
        words = [*map(str, service.get("entrypoint", ["sluice"])), *map(str, service.get("command", ()))]
        if words[0] == "sluice":
            main.build().parse_args(words[1:], exit_on_error=False, print_error=False)
        text = (
            " ".join(words).replace("${NATS_PASSWORD}", "secret").replace(name, '"$name"' if "worker" in name else name)
        )
        assert text in TYPED, f"{name}: {text}"


def test_no_service_may_more_than_another_and_workers_see_nothing_of_the_home(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        mounted = {volume.partition(":")[0] for volume in service["volumes"]}
        assert ("engine" in mounted) == (name in ("engine", "token")), name
        assert ("tls" in mounted) == (name in ("certificate", "nats")), name
    (port,) = services["engine"]["ports"]
    assert port.startswith("127.0.0.1:")


def _shared(places: dict[str, Path], what: str, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **{f"SLUICE_{name.upper()}": str(place) for name, place in places.items()}}
    environment["PATH"] = path + environment["PATH"]
    return subprocess.run(["sh", CONTAINER / "share.sh", what], env=environment, capture_output=True, text=True)


def test_the_certificate_is_made_once_and_handed_on_for_its_account_alone(tmp_path: Path) -> None:
    if not Path("/etc/ssl/certs/ca-certificates.crt").exists():
        pytest.skip("ca-certificates is not installed")
    places = {name: tmp_path / name for name in ("tls", "share")}
    for place in places.values():
        place.mkdir()
    made = []
    for _ in range(2):
        done = _shared(places, "certificate")
        assert done.returncode == 0, done.stderr
        made.append((places["tls"] / "nats.crt").read_text())
    assert made[0] == made[1]
    assert (places["share"] / "trusted.crt").read_text().endswith(made[0])
    assert (places["tls"] / "nats.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in places["share"].iterdir()] == ["trusted.crt"]
    assert _shared(places, "nothing").returncode == 2


def test_the_token_is_made_once_and_handed_on_for_its_account_alone(tmp_path: Path) -> None:
    """What it types is tried in .ci/container; here `sluice` is a program that notes what was typed."""
    said = tmp_path / "said"
    (tmp_path / "bin").mkdir()
    sluice = tmp_path / "bin" / "sluice"
    sluice.write_text(
        f'#!/bin/sh\necho "$@" >>{said}\ncase "$*" in group\\ show*) exit 1;; worker-token*) echo slw_;; esac\n'
    )
    sluice.chmod(0o755)
    (tmp_path / "share").mkdir()
    for _ in range(2):
        assert _shared({"share": tmp_path / "share"}, "token", f"{sluice.parent}:").returncode == 0
    assert (tmp_path / "share" / "token").read_text() == "slw_\n"
    assert (tmp_path / "share" / "token").stat().st_mode & 0o777 == 0o600
    typed = said.read_text().splitlines()
    assert [line.split()[:2] for line in typed] == [["group", "show"], ["group", "create"], ["worker-token", "create"]]
    for line in typed:
        main.build().parse_args(line.split(), exit_on_error=False, print_error=False)


@pytest.mark.anyio
async def test_the_health_check_finds_the_server_and_fails_without_it(tmp_path: Path) -> None:
    scene = stage.Stage(tmp_path / "home")
    command = [sys.executable, str(CONTAINER / "healthcheck.py")]
    environment = {**os.environ, "SLUICE_HOME": str(scene.home), "http_proxy": "http://127.0.0.1:1"}
    try:
        with anyio.fail_after(60):
            await scene.start(workers=0)
            assert (await anyio.run_process(command, env=environment, check=False)).returncode == 0
    finally:
        with anyio.fail_after(30, shield=True):
            await scene.stop()
    assert (await anyio.run_process(command, env=environment, check=False)).returncode == 1
