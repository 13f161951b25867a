"""File roots as operators write them, and the policy that follows from settings and this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson
import pydantic
import pytest

import core
from core import filepolicy
from core.filepolicy import FilePolicy
from core.fileroots import FileRoot
from core.settings import Settings


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("/srv/in", FileRoot("/srv/in")),
        ("/srv/in:ro", FileRoot("/srv/in", writable=False)),
        ("acme=/srv/acme", FileRoot("/srv/acme", tenant="acme")),
        ("etl:/srv/in", FileRoot("/srv/in", group="etl")),
        ("etl:acme=/srv/in:ro", FileRoot("/srv/in", "acme", "etl", writable=False)),
        ("/srv/a=b:c/d", FileRoot("/srv/a=b:c/d")),
    ],
)
def test_a_file_root_is_read_and_told_in_one_form(text: str, root: FileRoot) -> None:
    assert FileRoot.parse(text) == root
    assert str(root) == text


@pytest.mark.parametrize(
    "text", ["", "in", "./in", "~/in", "acme=in", "acme:etl:/in", "=/in", ":/in", "/a/../b", "/a\0"]
)
def test_what_is_no_file_root_is_refused_with_the_form_that_is_one(text: str) -> None:
    with pytest.raises(pydantic.ValidationError) as refused:
        Settings(file_roots=(text,))
    assert "file root" in str(refused.value)


def test_the_data_root_is_beside_the_home_and_no_two_homes_share_one(tmp_path: Path) -> None:
    one, two = Settings(home=tmp_path / "a"), Settings(home=tmp_path / "b")
    assert one.data_root == tmp_path / "a-data"
    assert one.data_root != two.data_root
    assert Settings(home=tmp_path / "a", data_root=tmp_path / "d").data_root == tmp_path / "d"


def test_workers_of_a_group_have_the_file_roots_of_no_other_group() -> None:
    settings = Settings(file_roots=("/all", "etl:/etl", "web:/web"))
    assert [root.path for root in settings.of_group("etl").file_roots] == ["/all", "/etl"]


def test_what_runs_and_configures_the_engine_is_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    policy = filepolicy.of(Settings(home=tmp_path / "home"))
    checkout = str(Path(str(core.__file__)).parent.parent)
    wanted = {str(tmp_path / "home"), str(tmp_path / "config"), sys.prefix, sys.base_prefix, checkout, "/etc", "/proc"}
    assert wanted <= set(policy.denied)
    assert str(tmp_path / "me") in policy.homes


def test_every_file_that_a_setting_names_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = {
        name: tmp_path / name
        for name, field in Settings.model_fields.items()
        if "Path" in str(field.annotation) and name not in ("home", "data_root", "private_files")
    }
    assert "jwt_key_file" in named
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "cloud.json"))
    policy = filepolicy.of(Settings(home=tmp_path / "home", private_files=(tmp_path / "more",), **named))
    expected = {str(path) for path in named.values()} | {str(tmp_path / "more"), str(tmp_path / "cloud.json")}
    assert expected <= set(policy.private)


def test_a_policy_comes_over_the_wire_as_it_was(tmp_path: Path) -> None:
    policy = filepolicy.of(Settings(home=tmp_path, file_roots=("a=/srv/a:ro", "/x", "etl:b=/y")))
    assert FilePolicy.from_dict(orjson.loads(orjson.dumps(policy))) == policy
