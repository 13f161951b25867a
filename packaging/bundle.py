"""Make the .mcpb bundle, which MCP clients install by a click: `make bundle`.

It holds the sources, their pyproject.toml and its build backend; the client's uv makes the environment. The same
sources give the same bytes.
"""

from __future__ import annotations

import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MANIFEST = Path(__file__).with_name("manifest.json")
PACKAGES = ("core", "mcp_server")
FILES = ("pyproject.toml", "README.md", "LICENSE", "packaging/backend.py", "packaging/console.py")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip knows


def entries() -> Iterator[tuple[str, Path]]:
    """What the bundle holds: the name in it, and the file."""
    yield "manifest.json", MANIFEST
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    forced = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    for name in (*FILES, *sorted(forced)):
        yield name, ROOT / name
    for page in sorted((ROOT / "docs").glob("*.md")):  # the manual that the server offers
        yield f"docs/{page.name}", page
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(ROOT).as_posix(), path


def write(target: Path) -> None:
    """Write the bundle."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as bundle:
        for name, path in entries():
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o100644 << 16
            bundle.writestr(info, path.read_bytes())


if __name__ == "__main__":
    made = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist" / "sluice.mcpb")
    write(made)
    print(f"wrote {made} ({made.stat().st_size // 1024} KiB)")
