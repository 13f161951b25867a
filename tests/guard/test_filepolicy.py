"""File roots as operators write them, and the policy that follows from settings and this machine."""

from __future__ import annotations

import sys
import types
from dataclasses import replace
from pathlib import Path

import orjson
import pydantic
import pytest
import structlog

import core
from core import errors
from core.fileroots import FileRoot
from core.guard import filepolicy
from core.guard.filepolicy import FileMode, FilePolicy
from core.guard.pathrules import FileRules
from core.model.enrolment import Ability, WorkerGrant
from core.settings import Settings
from tests import cases


@cases.table(
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


@cases.table("text", ["", "in", "./in", "~/in", "acme=in", "acme:etl:/in", "=/in", ":/in", "/a/../b", "/a\0"])
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


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine in miniature: the directory of a user, with what is hidden in it."""
    for name in ("me/.ssh", "me/plain", "home", "srv/data", "keys"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "keys" / "jwt.key").write_text("k" * 40)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: types.SimpleNamespace(pw_dir=str(tmp_path / "me")))
    return tmp_path


@pytest.mark.parametrize(
    ("roots", "told"),
    [
        (["/"], "holds"),
        (["{}/home"], "lies in"),
        (["{}/home/state"], "lies in"),
        (["{}"], "holds"),
        (["{}/home-data"], "where every tenant has a directory of its own"),
        (["{}/home-data/acme"], "where every tenant has a directory of its own"),
        (["{}/me"], "holds"),
        (["{}/me/.ssh"], "hidden place"),
        (["{}/keys/jwt.key"], "private file"),
        (["/usr/share"], "lies in /usr"),
        (["/dev/shm/x", "/dev/mqueue"], "lies in /dev"),
        ([sys.prefix], "no job may enter"),
    ],
)
def test_a_file_root_that_opens_what_is_closed_is_refused(place: Path, roots: list[str], told: str) -> None:
    asked = tuple(root.format(place) for root in roots)
    settings = Settings(home=place / "home", jwt_key_file=place / "keys" / "jwt.key", file_roots=asked)
    with pytest.raises(errors.InvalidParams, match=told) as refused:
        filepolicy.prepare(settings)
    assert "/srv/data" in refused.value.hint


@pytest.mark.parametrize("root", ["{}/srv/data", "{}/keys:ro", "{}/me/plain", "/dev/shm/x", "{}/not/there"])
def test_a_file_root_beside_what_is_closed_is_fine(place: Path, root: str) -> None:
    """A directory may hold a private file: that one is left out, by name and by inode."""
    settings = Settings(home=place / "home", jwt_key_file=place / "keys" / "jwt.key", file_roots=(root.format(place),))
    filepolicy.prepare(settings)
    assert Path(settings.data_root).is_dir()


@pytest.mark.parametrize("data_root", ["{}/home/data", "{}", "/etc/data", "{}/me", "{}/me/.config/data"])
def test_a_data_root_that_gives_a_tenant_what_is_closed_is_refused(place: Path, data_root: str) -> None:
    settings = Settings(home=place / "home", data_root=data_root.format(place))
    with pytest.raises(errors.InvalidParams, match="The data root"):
        filepolicy.prepare(settings)


@pytest.mark.parametrize("data_root", ["{}/srv/data", "{}/me/.local/share/sluice-data", "{}/me/data"])
def test_the_data_root_is_made_for_its_owner_alone(place: Path, data_root: str) -> None:
    wanted = Path(data_root.format(place) + "/root")
    filepolicy.prepare(Settings(home=place / "home", data_root=wanted))
    assert wanted.stat().st_mode & 0o777 == 0o700


def test_a_data_root_that_cannot_be_made_is_told(place: Path) -> None:
    (place / "file").write_text("x")
    with pytest.raises(errors.StorageUnavailable, match="cannot be made: Not a directory"):
        filepolicy.prepare(Settings(home=place / "home", data_root=place / "file" / "data"))


def test_an_engine_may_be_started_where_python_imports_from(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m` puts the working directory before what it imports, and that is often the directory of the user."""
    monkeypatch.setattr(sys, "path", [str(place / "me"), *sys.path])
    filepolicy.prepare(Settings(home=place / "me" / ".local" / "sluice"))
    with pytest.raises(errors.InvalidParams, match="lies in"):
        filepolicy.prepare(Settings(home=place / "home", file_roots=(str(place / "me" / "plain"),)))


def test_jobs_that_may_go_anywhere_are_warned_of(place: Path) -> None:
    with structlog.testing.capture_logs() as said:
        filepolicy.prepare(Settings(home=place / "home", file_access="anywhere"))
    assert [(one["log_level"], one["event"]) for one in said] == [("warning", "file_access_anywhere")]


def test_what_a_token_did_not_grant_is_told_with_what_grants_it() -> None:
    opened = FilePolicy(FileMode.TENANT, "/data", (FileRoot(path="/srv"),))
    grant = WorkerGrant("edge")
    assert FileRules(opened, "a").locate("/srv/x") == "/srv/x"
    with pytest.raises(errors.Forbidden) as refused:
        FileRules(grant.files(opened), "a").locate("/srv/x")
    assert refused.value.hint.endswith("and by a token that grants it: sluice worker-token create --can files")
    assert replace(grant, can=(Ability.FILES,)).files(opened) == opened
