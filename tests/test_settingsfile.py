"""sluice.toml: what it says, where it says it, and that what does not fit is told with its line."""

from __future__ import annotations

from pathlib import Path

import jsonschema_rs
import pytest

from core import errors, settingsfile

HOME = Path("/srv/home")
GOOD = b"""\
# for people
workers = "default=2,etl=1"
egress_allow = [
  "10.0.0.5",  # the database
  "10.1.0.0/16",
]
data_root = "data"
private_files = ["~/x.pem", "/etc/y.pem"]
reconcile_interval_seconds = 5

[serve]
port = 8080
tls_cert = "cert.pem"

[group.etl]
allow_exec = true
egress_allow = ["10.2.0.1"]
"""
BAD = b"""\
home = "/x"
egres_allow = ["x"]
egress_allow = ["nonsense"]
workers = 99
allow_exec = "yes"
drain_seconds = 1979-05-27
nats = "htp://user:password@x"
sandbox = "of"
portals = [1]
adopt = true
[serve]
port = "80"
hots = "x"
[group.etl]
allow_exe = true
file_roots = ["etl:/srv"]
[group.ETL]
allow_exec = 1
[grup.x]
"""


def faults(text: bytes) -> list[str]:
    with pytest.raises(errors.InvalidDocument) as found:
        settingsfile.parse(text, HOME / settingsfile.NAME)
    return [f"{one.where}: {one.message}".removeprefix(f"{HOME}/sluice.toml:") for one in found.value.errors]


def test_each_value_has_its_line_and_paths_start_at_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/users/op")
    found = settingsfile.parse(GOOD, HOME / settingsfile.NAME)
    assert found.data["data_root"] == "/srv/home/data"
    assert found.data["private_files"] == ["/users/op/x.pem", "/etc/y.pem"]
    assert found.data["serve"] == {"port": 8080, "tls_cert": "/srv/home/cert.pem"}
    assert {name: found.lines[name] for name in ("workers", "egress_allow", "data_root", "serve.port")} == {
        "workers": 2,
        "egress_allow": 3,
        "data_root": 7,
        "serve.port": 12,
    }
    assert found.where("group.etl.egress_allow") == "/srv/home/sluice.toml:17"


def test_whatever_does_not_fit_is_told_with_its_line_and_what_is_allowed() -> None:
    told = faults(BAD)
    assert [line.partition(":")[0] for line in told] == [
        str(n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, *range(15, 20))
    ]
    text = "\n".join(told)
    for words in (
        "2: unknown key 'egres_allow'; did you mean 'egress_allow'?",
        "4: input should be less than or equal to 64; found 99",
        "5: must be true or false; found 'yes'",
        "8: must be one of auto, require, off; found 'of'; did you mean 'off'?",
        "12: must be a whole number; found '80'",
        "13: unknown key 'hots'; did you mean 'host'?",
        "15: unknown key 'allow_exe'; did you mean 'allow_exec'?",
        "18: must be true or false; found 1",
        "19: unknown key 'grup'; did you mean 'group'?",
    ):
        assert words in text
    assert "password" not in text


@pytest.mark.parametrize(
    ("text", "place"),
    [(b"workers = \n", "1:"), (b"workers = 1\nworkers = 2\n", "2:"), (b"a = [1,\n2\n", "3: unclosed"), (b"\xff", "")],
)
def test_what_is_no_toml_is_told_with_its_place(text: bytes, place: str) -> None:
    (told,) = faults(text)
    assert told.startswith(place)


def test_a_file_that_others_can_open_or_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / settingsfile.NAME
    assert settingsfile.of_home(tmp_path).data == {}
    file.write_bytes(b"workers = 3\n")
    for mode in (0o644, 0o620, 0o602):
        file.chmod(mode)
        with pytest.raises(errors.StorageUnavailable, match=f"mode {mode:04o}") as refused:
            settingsfile.of_home(tmp_path)
        assert refused.value.hint == f"chmod 600 {file}"
    file.chmod(0o600)
    assert settingsfile.of_home(tmp_path).data == {"workers": 3}
    file.unlink()
    file.mkdir()
    with pytest.raises(errors.StorageUnavailable):
        settingsfile.of_home(tmp_path)


def test_the_template_says_every_setting_and_is_valid_as_it_is_and_without_its_marks() -> None:
    text = settingsfile.template()
    assert settingsfile.parse(text.encode(), HOME / settingsfile.NAME).data == {}
    used = "\n".join(
        line.removeprefix("# ") for line in text.splitlines() if (line[:2] != "##" and " = " in line) or "[" in line[:3]
    )
    found = settingsfile.parse(used.encode(), HOME / settingsfile.NAME).data
    allowed = settingsfile.schema()
    assert found.keys() == allowed["properties"].keys()
    assert found["serve"].keys() == allowed["$defs"]["Serve"]["properties"].keys()
    jsonschema_rs.Draft202012Validator(allowed).validate(dict(found))
