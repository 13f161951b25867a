"""The guide for authors: what it shows is saved, published and planned, in its order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core import documents
from core.catalog import graph
from core.model.transport import OPTIONS
from core.workflows import check
from tests.engines import ADMIN, engine_on

GUIDE = (Path(__file__).parents[2] / "docs" / "workflows.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.mark.anyio
async def test_every_example_of_the_guide_can_be_published_and_planned(tmp_path: Path) -> None:
    async with engine_on(tmp_path / "home", workers=0, nats="nats://127.0.0.1:1") as engine:
        for text in EXAMPLES:
            (document,) = documents.load(text)
            saved = await engine.call("workflow_save_draft", {"document": text}, ADMIN)
            assert (saved["errors"], saved["warnings"]) == ([], []), document.data["slug"]
            key = {"slug": saved["slug"], "type": saved["type"]}
            published = await engine.call("workflow_publish", key, ADMIN)
            if "ports" in document.data:
                continue
            fields = {question["field"] for question in document.data.get("wizard", ())}
            wish = {"name": "d", "source": published["source"]}
            values = {"values": {"path": str(tmp_path)}} if "path" in fields else {}
            planned = await engine.call("deployment_plan", {**wish, **values}, ADMIN)
            assert planned["blockers"] == [], document.data["slug"]
    assert len(EXAMPLES) == 8


def test_every_code_of_a_fault_is_in_the_guide() -> None:
    folder = Path(check.__file__).parent
    sources = [*folder.glob("*.py"), Path(graph.__file__), folder.parent / "catalog" / "blueprints.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    codes = set(re.findall(r'(?:Finding\(|self\.add\(|append\(\(|code = )\s*"([a-z_]+)"', text))
    codes |= set(re.findall(r'"((?:unknown|missing)_key|wrong_value|no_producer|no_consumer)"', text))
    told = set(re.findall(r"`([a-z]+(?:_[a-z]+)*)`", GUIDE[GUIDE.index("## What validation tells") :])) | {
        "unread_field",  # warnings, which stop nobody
        "unknown_parameter",
    }
    assert codes - told == set()


def test_every_setting_of_a_transport_is_in_the_guide() -> None:
    for transport, options in OPTIONS.items():
        row = next(line for line in GUIDE.splitlines() if line.startswith(f"| `{transport.value}`"))
        if transport.value == "object-store":
            row += next(line for line in GUIDE.splitlines() if line.startswith("| `file-store`"))
        assert [name for name in options if f"`{name}`" not in row] == []
