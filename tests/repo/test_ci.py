"""What CI is made of: README's own commands, a copy as from a clone, and where pip and uv get their packages from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.repo.test_docs import BLOCK, ROOT

CI = ROOT / ".ci"
pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is not a checkout")


def said(*command: str | Path, **variables: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_typed_on_a_bare_machine_stands_in_the_readme_word_for_word() -> None:
    first, second = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))[:2]
    assert (said(CI / "readme", "1"), said(CI / "readme", "2")) == (first, second)
    for script in ("run", "fresh"):
        text = (CI / script).read_text(encoding="utf-8")
        assert "bash .ci/readme 1" in text
        assert not {line for line in (first + second).splitlines() if line in text}, "it is taken from there"


def test_a_clone_has_what_is_here_and_nothing_that_is_ignored(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    said("git", "init", "-q", here)
    git = ("git", "-C", here, "-c", "user.name=a", "-c", "user.email=a@b.example")
    shutil.copytree(CI, here / ".ci")
    for name, text in ((".gitignore", "*.log\n"), ("kept", "old"), ("gone", "")):
        (here / name).write_text(text)
    said(*git, "add", "-A")
    said(*git, "commit", "-qm", "Begin")
    (here / "kept").write_text("new")
    (here / "gone").unlink()
    (here / "a.log").write_text("")
    (here / "untracked name").write_text("")
    said("bash", here / ".ci" / "clone", there)
    assert {path.name for path in there.iterdir()} == {".ci", ".git", ".gitignore", "kept", "untracked name"}
    assert (there / "kept").read_text() == "new"
    assert said("git", "-C", there, "status", "--short").split("\n")[:2] == [" D gone", " M kept"]


def test_where_pip_gets_packages_from_is_told_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    index = "index-url = https://files.example/simple"
    file.write_text(f"[global]\n{index}\ncert = /a.pem\nuser = true\nquiet = 1\n[install]\ncompile = no\n")
    told = said(sys.executable, CI / "pip-conf", PIP_CONFIG_FILE=str(file), PIP_CERT="/b c.pem", PIP_CACHE_DIR="/x")
    lines = told.splitlines()
    assert lines[0] == "[global]"
    assert {index, "cert = /b c.pem"} <= set(lines)
    assert not [line for line in lines if line.startswith(("user", "quiet", "compile", "cache-dir"))]
    assert "proxy = http://p.example" in said(sys.executable, CI / "pip-conf", https_proxy="http://p.example")


def test_uv_gets_packages_from_where_pip_gets_them(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    hosts = "trusted-host = a.example\n    b.example\nproxy = http://p.example\ncert = /a.pem\n"
    file.write_text(
        f"[global]\nindex-url = https://files.example/simple\n{hosts}extra-index-url = https://more.example\n"
    )
    conf = tomllib.loads(said(sys.executable, CI / "uv-conf", PIP_CONFIG_FILE=str(file)))
    assert conf["index-url"] == "https://files.example/simple" and conf["extra-index-url"] == ["https://more.example"]
    assert conf["allow-insecure-host"] == ["a.example", "b.example"] and conf["https-proxy"] == "http://p.example"
    assert conf["system-certs"] is True and conf["index-strategy"] == "unsafe-best-match"
