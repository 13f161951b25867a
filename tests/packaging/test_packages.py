"""The .mcpb bundle and the registry's server.json: valid, of this version, and the bundle runs."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import jsonschema
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from mcp_server.cli import main

ROOT = Path(__file__).parents[2]
SCHEMAS = Path(__file__).with_name("schemas")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PUBLISHED = (
    (ROOT / "server.json", SCHEMAS / "server.schema.json"),
    (ROOT / "packaging" / "manifest.json", SCHEMAS / "mcpb-manifest-v0.4.schema.json"),
)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


SERVER = read(PUBLISHED[0][0])
MANIFEST = read(PUBLISHED[1][0])


def load_builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("packaging_bundle", ROOT / "packaging" / "bundle.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILDER = load_builder()


@pytest.mark.parametrize(("document", "schema"), PUBLISHED, ids=lambda path: path.name)
def test_what_is_published_fits_the_schema_of_its_format(document: Path, schema: Path) -> None:
    validator = jsonschema.Draft7Validator(read(schema), format_checker=jsonschema.FormatChecker())
    assert [error.message for error in validator.iter_errors(read(document))] == []
    assert list(validator.iter_errors({**read(document), "version": 1})) != []


def test_the_version_is_the_same_everywhere() -> None:
    packages = [package["version"] for package in SERVER["packages"]]
    assert {SERVER["version"], MANIFEST["version"], *packages} == {PROJECT["version"]}


def test_the_package_is_this_one_and_its_program_bears_its_name() -> None:
    assert [package["identifier"] for package in SERVER["packages"]] == [PROJECT["name"]]
    assert PROJECT["name"] in PROJECT["scripts"]  # so that `uvx sluice-mcp` finds the program
    assert MANIFEST["server"]["mcp_config"]["args"][-1] in PROJECT["scripts"]


def test_the_readme_names_the_server_to_the_registry() -> None:
    assert f"<!-- mcp-name: {SERVER['name']} -->" in (ROOT / PROJECT["readme"]).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", [SERVER, MANIFEST], ids=["server.json", "manifest.json"])
def test_a_variable_that_is_offered_is_a_flag_of_the_program(document: dict[str, Any]) -> None:
    packages = document.get("packages", ())
    offered = [one["name"] for package in packages for one in package["environmentVariables"]]
    offered += document.get("server", {}).get("mcp_config", {}).get("env", ())
    flags = {name for one in main.build()["mcp"].assemble_argument_collection() for name in one.names}
    assert offered
    assert {"--" + name.removeprefix("SLUICE_").lower().replace("_", "-") for name in offered} <= flags


def test_every_question_of_the_bundle_is_used() -> None:
    env = json.dumps(MANIFEST["server"]["mcp_config"])
    assert all(f"${{user_config.{name}}}" in env for name in MANIFEST["user_config"])
    assert MANIFEST["user_config"]["allow_write"]["default"] is False


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    BUILDER.write(tmp_path / "a" / "one.mcpb")
    BUILDER.write(tmp_path / "b" / "two.mcpb")
    assert (tmp_path / "a" / "one.mcpb").read_bytes() == (tmp_path / "b" / "two.mcpb").read_bytes()


def test_the_bundle_holds_what_it_needs_and_no_more(tmp_path: Path) -> None:
    BUILDER.write(tmp_path / "it.mcpb")
    with zipfile.ZipFile(tmp_path / "it.mcpb") as bundle:
        names = bundle.namelist()
    assert len(names) == len(set(names))
    assert {"manifest.json", "pyproject.toml", MANIFEST["server"]["entry_point"]} <= set(names)
    assert any(name.startswith("core/catalog/builtin/") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests/", "/", ".."))]


@pytest.mark.anyio
@pytest.mark.parametrize("allow_write", ["false", "true"])
async def test_the_unpacked_bundle_serves_its_tools(tmp_path: Path, allow_write: str) -> None:
    BUILDER.write(tmp_path / "it.mcpb")
    with zipfile.ZipFile(tmp_path / "it.mcpb") as bundle:
        bundle.extractall(tmp_path / "it")
    # In place of uv, which would make an environment of what is installed here already.
    start = "import sys; sys.path.insert(0, sys.argv.pop(1)); from mcp_server.cli import main; main.main_mcp()"
    server = StdioServerParameters(
        command=sys.executable,
        args=["-P", "-c", start, str(tmp_path / "it")],
        env={
            **os.environ,
            "SLUICE_HOME": str(tmp_path / "home"),
            "SLUICE_ALLOW_WRITE": allow_write,
        },
        cwd=tmp_path,
    )
    with anyio.fail_after(30):
        async with Client(server) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
    assert "deployment_plan" in names
    assert ("deployment_apply" in names) is (allow_write == "true")
