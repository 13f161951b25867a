"""A directory becomes a portal: every document checked, every fault told, nothing written when there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import errors
from core.catalog.portal import offers, parse, verify
from core.workflows import packing
from tests.portals import DOCUMENTS, JOB, PRINTED, SOURCE, ticks


def fill(root: Path, **files: str) -> Path:
    for name, text in files.items():
        (root / f"{name}.yaml").write_text(text, encoding="utf-8")
    return root


def faults(root: Path) -> list[tuple[str | None, str]]:
    with pytest.raises(errors.InvalidDocument) as caught:
        packing.pack(root)
    assert not (root / "index.json").exists()
    return [(problem.where, problem.message) for problem in caught.value.errors]


def test_what_is_packed_can_be_read_and_verified(tmp_path: Path) -> None:
    (tmp_path / "more" / ".git").mkdir(parents=True)
    (tmp_path / "more" / ".git" / "x.yaml").write_text("not: ours", encoding="utf-8")
    (tmp_path / "README.md").write_text("# Hello", encoding="utf-8")
    fill(tmp_path, **DOCUMENTS)
    fill(tmp_path / "more", newer=ticks("1.10.0"), older=ticks("1.9.0"))
    made = packing.pack(tmp_path, title="Ours", author="The team")
    raw = (tmp_path / "index.json").read_bytes()
    assert parse(raw, "x") == made
    for offer in offers("ours", made):
        assert verify(offer, (tmp_path / offer.item.path).read_bytes()).model.slug == offer.slug
    assert [(one.slug, one.version) for one in made.items if one.type.value == "blueprint"] == [
        ("ticks", "1.0.0"),
        ("ticks", "1.9.0"),
        ("ticks", "1.10.0"),
    ]
    assert {one.author for one in made.items} == {"Ada", "The team"}
    packing.pack(tmp_path, title="Ours", author="The team")
    assert (tmp_path / "index.json").read_bytes() == raw


def test_the_faults_of_every_document_are_told_at_once(tmp_path: Path) -> None:
    fill(
        tmp_path,
        a=PRINTED.replace("ticks@1.0.0", "tacks@1.0.0"),
        b=JOB.replace("echo", "ecko"),
        c=SOURCE.replace("port: out", "port: aut"),
    )
    told = faults(tmp_path)
    assert {str(where).rpartition("/")[2].partition(":")[0] for where, _ in told} == {"a.yaml", "b.yaml", "c.yaml"}
    assert all(where is not None and where.count(":") == 2 for where, _ in told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (PRINTED.replace("version: 1\n", ""), "an item of a portal says which version it is"),
        ("name: job\ninput: {echo: {event: x}}\noutput: {print: STDOUT}\n", "must be one of blueprint"),
        (f"{SOURCE}---\n{JOB}", "holds 2 documents"),
        ("kind: blueprint\n", "missing"),
        ("[", "did not find expected node content"),
        ("a" * 1_100_000, "larger than"),
    ],
)
def test_a_file_that_is_no_item_is_a_fault(tmp_path: Path, text: str, told: str) -> None:
    fill(tmp_path, x=text)
    with pytest.raises(errors.InvalidDocument) as caught:
        packing.pack(tmp_path)
    assert told in " ".join([caught.value.message, *(problem.message for problem in caught.value.errors)])


def test_one_version_in_two_files_is_a_fault(tmp_path: Path) -> None:
    fill(tmp_path, a=SOURCE, b=SOURCE)
    ((where, message),) = faults(tmp_path)
    assert where == f"{tmp_path}/b.yaml:3:1"
    assert message == f"blueprint:ticks@1.0.0 is also in {tmp_path}/a.yaml"


def test_a_name_that_a_portal_cannot_carry_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a b.yaml").write_text(SOURCE, encoding="utf-8")
    ((_, message),) = faults(tmp_path)
    assert "relative path of plain names" in message


def test_links_to_directories_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    fill(tmp_path / "outside", x=SOURCE)
    root = tmp_path / "root"
    root.mkdir()
    fill(root, job=JOB)
    (root / "link").symlink_to(tmp_path / "outside")
    assert [item.slug for item in packing.pack(root).items] == ["hello-job"]


def test_an_empty_directory_is_no_portal(tmp_path: Path) -> None:
    assert faults(tmp_path) == []


def test_an_index_stays_when_its_successor_has_a_fault(tmp_path: Path) -> None:
    packing.pack(fill(tmp_path, a=SOURCE))
    before = (tmp_path / "index.json").read_bytes()
    fill(tmp_path, b="[")
    with pytest.raises(errors.InvalidDocument):
        packing.pack(tmp_path)
    assert (tmp_path / "index.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yaml", "b.yaml", "index.json"]
