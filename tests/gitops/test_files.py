"""A manifest is a text from a repository that anybody may have changed: it reads below its directory and no further."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core import errors
from core.gitops import files
from core.model.gitops import Kind

HEAD = "schema_version: v1\nscope: {tenant_id: default, environment: dev}\n"


def write(directory: Path, *paths: str, kind: str = "job") -> Path:
    listed = "".join(f"      - {path!r}\n" for path in paths)
    manifest = directory / "sluice.yaml"
    manifest.write_text(f"{HEAD}includes:\n  - kind: {kind}\n    paths:\n{listed}")
    return manifest


def told(directory: Path, *paths: str) -> list[tuple[str, str]]:
    bundle = files.read(write(directory, *paths))
    assert bundle.files == []
    return [(problem.message, str(problem.where).rpartition("/")[2]) for problem in bundle.problems]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "secret.yaml").write_text("name: outside\n")
    root = tmp_path / "repository"
    (root / "jobs" / "deep").mkdir(parents=True)
    for name in ("jobs/a.yaml", "jobs/b.json", "jobs/deep/c.yml", "jobs/notes.txt", "jobs/.hidden.yaml"):
        (root / name).write_text("name: x\n")
    return root


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("../secret.yaml", "leads upwards"),
        ("jobs/../../secret.yaml", "leads upwards"),
        ("jobs/*/../../../secret.yaml", "leads upwards"),
        ("/etc/passwd", "is absolute"),
        ("~/x.yaml", "is absolute"),
        ("jobs\\a.yaml", "has a character"),
        ("jobs/a\0.yaml", "has a character"),
        ("**/**/**/x.yaml", "is too deep"),
        ("none/*.yaml", "no file matches"),
        ("none.yaml", "cannot read none.yaml: No such file"),
        ("jobs", "cannot read jobs: Is a directory"),
    ],
)
def test_a_path_that_is_no_file_below_the_manifest_is_a_fault_at_its_place(
    repository: Path, path: str, what: str
) -> None:
    manifest = repository / "sluice.yaml"
    quoted = '"' + path.replace("\\", "\\\\").replace("\0", "\\x01") + '"'
    manifest.write_text(f"{HEAD}includes:\n  - kind: job\n    paths:\n      - {quoted}\n")
    if "\0" in path:
        bundle = files.read(manifest)  # YAML has no way to say NUL; what comes nearest is just a name
        assert bundle.problems
        return
    bundle = files.read(manifest)
    assert bundle.files == []
    assert [what in problem.message for problem in bundle.problems] == [True], bundle.problems
    assert str(bundle.problems[0].where).endswith("sluice.yaml:6:9")


def test_links_are_not_followed_wherever_they_lead(repository: Path) -> None:
    (repository / "file.yaml").symlink_to("../secret.yaml")
    (repository / "inside.yaml").symlink_to("jobs/a.yaml")
    (repository / "directory").symlink_to("..")
    (repository / "loop").symlink_to("loop")
    (repository / "one").symlink_to("two")
    (repository / "two").symlink_to("one")
    assert [
        message
        for message, _ in told(repository, "file.yaml", "inside.yaml", "directory/secret.yaml", "loop", "one/x.yaml")
    ] == [
        "cannot read file.yaml: it leads outside the directory of the manifest",
        "cannot read inside.yaml: it is a symbolic link",
        "cannot read directory/secret.yaml: it leads outside the directory of the manifest",
        "cannot read loop: it is a symbolic link",
        "cannot read one/x.yaml: Too many levels of symbolic links",
    ]
    assert told(repository, "directory/*.yaml")[0][0].startswith("no file matches")
    assert told(repository, "*/secret.yaml")[0][0].startswith("no file matches")


def test_a_pipe_is_no_file_and_does_not_hang(repository: Path) -> None:
    os.mkfifo(repository / "pipe.yaml")
    assert told(repository, "pipe.yaml")[0][0] == "cannot read pipe.yaml: it is no regular file"


def test_patterns_find_documents_at_their_depth_and_no_hidden_ones(repository: Path) -> None:
    def found(*paths: str) -> list[str]:
        bundle = files.read(write(repository, *paths))
        assert bundle.problems == []
        return [file.path for file in bundle.files]

    assert found("jobs/*.yaml") == ["jobs/a.yaml"]
    assert found("jobs/*") == ["jobs/a.yaml", "jobs/b.json"]
    assert found("**/*.y*ml") == ["jobs/a.yaml", "jobs/deep/c.yml", "sluice.yaml"]
    assert found("jobs/**") == ["jobs/a.yaml", "jobs/b.json", "jobs/deep/c.yml"]
    assert found("jobs/a.yaml", "jobs/*.yaml", "./jobs/a.yaml") == ["jobs/a.yaml"]


def test_a_file_has_one_kind(repository: Path) -> None:
    manifest = repository / "sluice.yaml"
    manifest.write_text(
        HEAD + "includes:\n  - {kind: job, paths: [jobs/a.yaml]}\n  - {kind: trigger, paths: [jobs/a.yaml]}\n"
    )
    bundle = files.read(manifest)
    assert [problem.message for problem in bundle.problems] == ["jobs/a.yaml is included as job and as trigger"]
    assert [file.kind for file in bundle.files] == [Kind.JOB]


def test_budgets_hold_for_a_file_and_for_all_of_them(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "large.yaml").write_bytes(b"x" * (files.MAX_FILE_BYTES + 1))
    (repository / "binary.yaml").write_bytes(b"\xff\xfe")
    assert [message for message, _ in told(repository, "large.yaml", "binary.yaml")] == [
        f"large.yaml is larger than {files.MAX_FILE_BYTES} bytes",
        "binary.yaml is not UTF-8 at byte 0",
    ]
    monkeypatch.setattr(files, "MAX_TOTAL_BYTES", 10)
    bundle = files.read(write(repository, "jobs/**"))
    assert [problem.message for problem in bundle.problems] == [
        "the files take more than 10 bytes; divide the manifest"
    ]
    monkeypatch.setattr(files, "MAX_FILES", 1)
    monkeypatch.setattr(files, "MAX_TOTAL_BYTES", 1000)
    bundle = files.read(write(repository, "jobs/**"))
    assert [problem.message for problem in bundle.problems] == ["the manifest includes more than 1 files"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("scope: {tenant_id: default}", "the key 'schema_version' is missing"),
        ("schema_version: v2\nscope: {tenant_id: default}", "must be one of v1"),
        ("schema_version: v1", "the key 'scope' is missing"),
        (HEAD + "includes: [{kind: secret, paths: [a]}]", "found 'secret'"),
        (HEAD + "includes: [{kind: jobs, paths: [a]}]", "did you mean 'job'?"),
        (HEAD + "includes: [{kind: job, paths: []}]", "needs at least 1"),
        (HEAD + "source: {commit_sha: abc}", "must be a whole commit id: 40 hexadecimal digits"),
        (HEAD + "prune: true", "unknown key 'prune'"),
        ("schema_version: v1\nscope: {tenant_id: default, environment: A B}", "must be a name"),
    ],
)
def test_faults_of_the_manifest_are_told_with_their_place(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    if text.startswith(HEAD):
        problems = files.read(tmp_path / "m.yaml").problems
    else:  # it does not say what the files are for
        with pytest.raises(errors.InvalidDocument, match="is not a valid manifest") as caught:
            files.read(tmp_path / "m.yaml")
        problems = list(caught.value.errors)
    assert any(what in problem.message for problem in problems), problems
    assert all(problem.where and "m.yaml:" in problem.where for problem in problems)


FAULTS = """
name: "No Name"
prune: true
source: {commit_sha: abc}
includes:
  - {kind: jobs, paths: [jobs/a.yaml]}
  - {kind: job, paths: [jobs/a.yaml, none.yaml]}
  - {kind: job}
"""


def test_faults_of_a_manifest_do_not_hide_those_of_its_files(repository: Path) -> None:
    manifest = repository / "m.yaml"
    manifest.write_text(HEAD + FAULTS)
    bundle = files.read(manifest)
    assert [file.path for file in bundle.files] == ["jobs/a.yaml"]
    assert (bundle.manifest.scope.tenant_id, bundle.manifest.scope.environment) == ("default", "dev")
    places = [str(problem.where).partition("m.yaml:")[2].partition(":")[0] for problem in bundle.problems]
    assert sorted(map(int, places)) == [4, 5, 6, 8, 9, 10], bundle.problems
    manifest.write_text("schema_version: v1\nscope: {environment: dev}\n" + FAULTS)
    with pytest.raises(errors.InvalidDocument) as caught:
        files.read(manifest)
    told = [problem.message for problem in caught.value.errors]
    assert any("'tenant_id' is missing" in message for message in told), told
    assert any(message.startswith("cannot read none.yaml") for message in told), told


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: [*a, *a]\n",
        "[" * 100_000,
        "- " * 200,
        "!!python/object/apply:os.system [id]\n",
        "a: 1\na: 2\n",
        "a\0b: 1\n",
    ],
    ids=["anchors", "brackets", "depth", "tag", "twice", "nul"],
)
def test_a_manifest_that_is_a_bomb_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(errors.InvalidDocument):
        files.read(tmp_path / "m.yaml")


def test_a_manifest_that_is_not_there_is_told_plainly(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(errors.InvalidDocument, match="Cannot read the manifest"):
            files.read(path)
