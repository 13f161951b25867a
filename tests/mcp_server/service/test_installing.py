"""What installing and removing a service does to a machine, with a systemctl that only writes down what it is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core import errors
from mcp_server.cli import codes, main
from mcp_server.service import installing, unit


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of which systemd runs; each call of systemctl is a line of the file `called`."""
    programs = tmp_path / "bin"
    programs.mkdir()
    fake = programs / "systemctl"
    fake.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/called\ncase $2 in show) echo ActiveState=active;; esac\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(installing, "RUNS", tmp_path)
    return tmp_path


def called(machine: Path) -> list[str]:
    return (machine / "called").read_text().splitlines()


def test_a_service_of_a_user_is_installed_told_and_removed(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = machine / "a home"
    assert main.run(["service", "install", "--user", "--home", str(home), "--", "--port", "3001"]) == 0
    file = machine / "config" / "systemd" / "user" / "sluice.service"
    assert f'--home "{home}" --data-root "{home}-data" --port 3001\n' in file.read_text()
    assert (file.stat().st_mode & 0o777, home.stat().st_mode & 0o777) == (0o644, 0o700)
    reload = "--user daemon-reload"
    steps = [reload, "--user enable sluice.service", "--user restart sluice.service", reload]
    assert called(machine) == steps
    assert main.run(["service", "install", "--user", "--home", str(home)]) == 0, "our own is replaced"
    assert "--port" not in file.read_text()
    assert main.run(["service", "status", "--user"]) == 0
    assert "ActiveState" in capsys.readouterr().out
    assert main.run(["service", "remove", "--user", "--dry-run"]) == 0
    assert file.exists()
    assert main.run(["service", "remove", "--user"]) == 0
    assert not file.exists() and home.is_dir()
    assert called(machine)[-2:] == ["--user disable --now sluice.service", "--user daemon-reload"]


def test_only_the_first_start_of_a_service_makes_its_home(machine: Path) -> None:
    home = machine / "100% home"
    file = machine / "config" / "systemd" / "user" / "sluice.service"
    (machine / "bin" / "systemctl").write_text(f'#!/bin/sh\ncase $2 in restart) cp "{file}" {machine}/first;; esac\n')
    assert main.run(["service", "install", "--user", "--home", str(home)]) == 0
    wanted = f"\nAssertPathExists={machine}/100%% home/sluice.db\n"
    assert wanted not in (machine / "first").read_text()
    assert wanted in file.read_text()
    (home / "sluice.db").touch()
    assert main.run(["service", "install", "--user", "--home", str(home)]) == 0
    assert wanted in (machine / "first").read_text(), "a home that has begun is not made anew by a restart either"


def test_a_unit_of_somebody_else_is_neither_replaced_nor_removed(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = machine / "config" / "systemd" / "user" / "sluice.service"
    file.parent.mkdir(parents=True)
    file.write_text("[Service]\nExecStart=/bin/true\n")
    assert main.run(["service", "install", "--user"]) == codes.REFUSED
    assert "was not written by" in capsys.readouterr().err
    assert main.run(["service", "remove", "--user"]) == codes.REFUSED
    assert file.read_text().endswith("/bin/true\n") and not (machine / "called").exists()
    assert main.run(["service", "install", "--user", "--name", "other"]) == 0
    assert file.with_name("other.service").exists()


def test_dry_run_prints_the_unit_and_does_nothing(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["service", "install", "--dry-run", "--account", "nobody-here"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(unit.MARKER) and "User=nobody-here" in said.out
    assert "Would make the account nobody-here" in said.err
    assert not (machine / "called").exists()
    assert main.run(["service", "install", "--dry-run", "--account", "a b"]) == 1


@pytest.mark.parametrize(
    "flags, why",
    [
        (["--", "--prot", "1"], "Unknown option"),
        (["--", "--home", "/x"], "stands before the --"),
        (["--file-root", "x"], "file root"),
        (["--name", "../x"], "no name of a service"),
    ],
)
def test_what_would_fail_later_is_refused_at_once(
    machine: Path, flags: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["service", "install", "--user", *flags]) == 1
    assert why in capsys.readouterr().err
    assert not (machine / "config").exists()


@pytest.mark.parametrize(
    "flags, why",
    [
        (["--port", "99999"], "is not a port"),
        (["--tls-cert", "a.pem"], "belong together"),
        (["--workers", "many"], "does not fit"),
        (["--trusted-proxy", "proxy"], "does not fit"),
    ],
)
def test_values_with_which_no_server_starts_are_refused_too(
    machine: Path, flags: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["service", "install", "--user", "--dry-run", "--", *flags]) == codes.USAGE
    assert why in capsys.readouterr().err


def test_without_systemd_or_root_it_says_so(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(errors.Forbidden, match="root's"):
        installing.check(installing.place(of_user=False))
    monkeypatch.setattr(installing, "RUNS", machine / "none")
    with pytest.raises(errors.TargetUnavailable, match="systemd"):
        installing.check(installing.place(of_user=True))


def test_a_command_that_fails_says_what_it_said(machine: Path) -> None:
    (machine / "bin" / "systemctl").write_text("#!/bin/sh\necho 'Unit is masked.' >&2\nexit 5\n")
    with pytest.raises(errors.TargetUnavailable, match=r"ended with 5: Unit is masked\."):
        installing.carry_out(installing.Step("", command=("systemctl", "enable", "x")))
