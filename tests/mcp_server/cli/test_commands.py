"""The command line: what it lists, reads, prints, and how it fails."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from core import errors, ownership
from mcp_server.cli import codes, documents, main, render
from mcp_server.http import serving
from tests import cases
from tests.engines import served


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "home"
    monkeypatch.setenv("SLUICE_HOME", str(place))
    monkeypatch.setenv("SLUICE_WORKERS", "0")
    return place


@pytest.fixture
def begun(home: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The home with something in it: who only reads makes none."""
    assert run(capsys, "token", "create", "--username", "somebody")[0] == 0
    return home


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main.run(words)
    done = capsys.readouterr()
    return code, done.out, done.err


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for path in main.commands():
        assert path.split()[0] in out
    assert "SLUICE_<FLAG>" in out


def test_no_command_at_all_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Commands" in run(capsys)[1]


def test_wrong_usage_is_told_on_stderr_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with cases.every() as case:
        for words in (
            "bogus",
            "plan",
            "job put",
            "worker list --bogus",
            "serve --port many",
            "mcp install emacs",
            "token create --username x --role root",
        ):
            with case(words):
                code, out, err = run(capsys, *words.split())
                assert code == 2
                assert err
                assert "Traceback" not in out + err


def test_a_setting_that_does_not_fit_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_WORKER_SLOTS", "many")
    code, _, err = run(capsys, "settings")
    assert code == 2
    assert "/worker_slots" in err


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("WORKERS", "default=x", "/: workers: 'default=x' is not GROUP=N, such as default=2\n"),
        ("WORKER_SLOTS", "many", "/worker_slots: 'worker_slots' must be a whole number; found 'many'\n"),
    ],
)
def test_a_setting_that_does_not_fit_is_named_with_its_variable_and_without_words_of_python(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"SLUICE_{variable}", value)
    _, _, err = run(capsys, "variable", "list")
    assert said in err and f"a flag or a variable (SLUICE_{variable});" in err


@pytest.mark.usefixtures("begun")
def test_an_error_has_code_places_and_hint_and_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "job", "show", "nowhere")
    assert (code, out) == (1, "")
    assert err.startswith("error: not_found: ")
    assert "hint: " in err


@pytest.mark.usefixtures("begun")
def test_an_error_in_json_is_the_same_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "job", "show", "nowhere", "--json")
    assert (code, out) == (1, "")
    assert orjson.loads(err)["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    "words", ["status", "settings", "variable set A 1", "up {file} --yes", "backup {file}.tar --without-keys"]
)
@pytest.mark.parametrize("closed", [False, True], ids=["a file", "not ours"])
def test_a_home_that_cannot_be_used_is_no_fault_of_ours(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, closed: bool
) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text("kind: workflow\nslug: flow\nsteps: []\n")
    place = file
    if closed:  # as whoever runs the tests may look everywhere, the kernel's answer is made here
        place = tmp_path / "closed"

        def refused(*_: Any, **__: Any) -> Any:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(ownership, "_with_short_path", refused)
        monkeypatch.setattr("core.settingsfile.os.open", refused)
    code, out, err = run(capsys, *words.format(file=file).split(), "--home", str(place))
    assert (code, out) == (1, "")
    assert err.startswith("error: storage_unavailable: ") and str(place) in err
    assert ("Permission denied" if closed else "Not a directory") in err and "Run as the account that owns it" in err


@pytest.mark.usefixtures("begun")
def test_a_fault_of_ours_names_its_place_and_shows_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(render, "rows", broken)
    code, _, err = run(capsys, "job", "list")
    assert code == 1
    assert "internal: RuntimeError: unexpected" in err
    assert "at: test_commands.py:" in err
    assert "Traceback" not in err


def test_a_name_never_comes_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_NAME", "from-the-environment")
    assert run(capsys, "job", "show")[0] == 2


@pytest.mark.usefixtures("begun")
def test_flags_come_from_the_environment(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_JSON", "1")
    code, out, _ = run(capsys, "job", "list")
    assert code == 0
    assert orjson.loads(out) == {"items": [], "next_cursor": None, "total": 0}


@pytest.mark.usefixtures("begun")
def test_a_list_is_a_table_for_people(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "There are no jobs" in run(capsys, "job", "list")[1]
    file = tmp_path / "job.yaml"
    file.write_text('name: one\ninput: {echo: {event: "{}"}}\noutput: {print: STDOUT}\n')
    code, out, _ = run(capsys, "job", "put", "-f", str(file))
    assert code == 0
    assert "version  1" in out
    assert "one" in run(capsys, "job", "list")[1]


def test_a_faulty_document_is_blamed_by_file_line_and_column(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("name: one\ninput: {ecko: {}}\noutput: {print: STDOUT}\n")
    code, _, err = run(capsys, "job", "put", "-f", str(file))
    assert code == 1
    assert f"{file}:2:" in err
    code, out, _ = run(capsys, "job", "validate", "-f", str(file))
    assert code == 1
    assert f"{file}:2:" in out.replace("\n", "")


def test_a_faulty_trigger_is_blamed_by_file_line_and_column(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "trigger.yaml"
    file.write_text("slug: one\ntarget_job_name: job\ninvoke_policy:\n  allow_all: true\n")
    code, _, err = run(capsys, "trigger", "publish", "-f", str(file))
    assert code == 1
    assert f"{file}:3:" in err


def test_a_document_may_come_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stdin:
        buffer = io.BytesIO(b'{"slug": "piped", "target_job_name": "job"}')

    monkeypatch.setattr(sys, "stdin", Stdin())
    code, out, _ = run(capsys, "trigger", "publish", "-f", "-")
    assert code == 0
    assert "piped" in out


def test_a_file_that_cannot_be_read_is_a_plain_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with cases.every() as case:
        for content in (None, b"\xff\xfe\x00", b""):
            file = tmp_path / "f"
            if content is not None:
                file.write_bytes(content)
            with case(content):
                code, _, err = run(capsys, "trigger", "publish", "-f", str(file))
                assert code == 1
                assert str(file) in err


def test_values_read_as_json_where_they_are_json() -> None:
    given = ["a=1", "b=true", "c=null", 'd={"x": [1]}', 'e="7"', "f=tomorrow", "g=", "h=/tmp/x", "i=1.2.3", "j=a=b"]
    assert documents.values(given) == {
        "a": 1,
        "b": True,
        "c": None,
        "d": {"x": [1]},
        "e": "7",
        "f": "tomorrow",
        "g": "",
        "h": "/tmp/x",
        "i": "1.2.3",
        "j": "a=b",
    }


def test_a_value_without_a_name_is_refused() -> None:
    with cases.every() as case:
        for pair in ("novalue", "=x", ""):
            with case(repr(pair)), pytest.raises(errors.InvalidParams, match="NAME=VALUE"):
                documents.values([pair])


def test_a_number_has_to_be_one() -> None:
    assert documents.numbers(["a=3"], "--replicas") == {"a": 3}
    with pytest.raises(errors.InvalidParams):
        documents.numbers(["a=many"], "--replicas")


def test_what_is_printed_has_no_control_characters_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    render.rows([{"name": "[red]\x1b[31mx", "state": "[/]"}], ("name", "state"), empty="")
    render.text("one\x1b]0;title\x07two")
    render.diff("+[red]\x1b[31mx")
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out
    assert "[red]" in out and "two" in out


def test_rows_with_the_same_reason_are_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    stays = [{"id": f"web#{n}", "reason": "no room"} for n in range(50)] + [{"id": "one#0", "reason": "pinned"}]
    render.rows(render.folded(stays, "id", "reason"), ("number", "id", "reason"), empty="")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:] if line.strip()]
    assert rows == [
        "50 web#0, web#1, web#2, web#3, web#4 and 45 more no room".split(),
        "1 one#0 pinned".split(),
    ]


def test_what_a_plan_needs_next_is_in_its_output(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    source = ("--from", "workflow:quickstart-file-store-roundtrip", "--set", "path=files")
    with served(home):
        code, out, err = run(capsys, "plan", "web", *source)
    assert (code, err) == (0, "")
    plan_id = out.rstrip().rpartition(" ")[2]
    assert out.rstrip().splitlines()[-1] == f"To carry it out: sluice apply {plan_id}"
    assert run(capsys, "plans", "show", plan_id)[0] == 0


def test_the_exit_code_of_a_plan_tells_changes_and_blockers_apart(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Path
) -> None:
    quickstart = ("plan", "web", "--from", "workflow:quickstart-file-store-roundtrip", "--exit-code")
    with served(home):
        assert run(capsys, *quickstart, "--set", "path=files")[0] == 2
        code, out, _ = run(capsys, *quickstart)
        assert code == 5 and "Blockers" in out and "To carry it out" not in out
        assert run(capsys, *quickstart[:-1])[0] == 0  # it was computed and shown, as was asked


def test_mcp_is_imported_only_to_serve_it(home: Path) -> None:
    script = (
        "import sys; from mcp_server.cli import main\n"
        "for words in sys.argv[1:]:\n"
        "    main.run(words.split())\n"
        "    'mcp' in sys.modules and sys.exit(f'{words}: imported mcp')\n"
    )
    words = ("--help", "plan --help", "job list", "serve --help")
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def test_a_command_that_asks_an_engine_imports_none_of_it(home: Path) -> None:
    heavy = ("core.engine", "core.operations", "core.settings", "core.documents", "pydantic", "structlog", "rich.table")
    script = (
        "import sys; from mcp_server.cli import main\n"
        "for words in sys.argv[1:]:\n"
        "    code = main.run(words.split())\n"
        f"    loaded = [one for one in {heavy} if one in sys.modules]\n"
        "    if code or loaded:\n"
        "        sys.exit(f'{words}: {code}, imported {loaded}')\n"
    )
    words = [f"{one} --home {home}" for one in ("status", "worker list", "invocation list -o name")]
    with served(home):
        done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_the_list_of_commands_is_imported_without_what_they_do() -> None:
    script = (
        "import sys; from mcp_server.cli import main; main.run(['--help']);"
        "heavy = {'mcp', 'fastapi', 'uvicorn', 'httpx', 'core', 'pydantic', 'yaml'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def test_a_port_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with cases.every() as case:
        for port in ("-1", "65536", "99999"):
            with case(port):
                code, out, err = run(capsys, "serve", "--port", port)
                assert (code, out) == (codes.USAGE, "")
                assert f"{port} is not a port" in err


@pytest.mark.parametrize(
    "flags",
    [
        ["--tls-cert", "a.pem"],
        ["--tls-cert", "a.pem", "--tls-key", "b.pem", "--disable-tls"],
        ["--auth", "none", "--host", "0.0.0.0"],
        ["--host", "no such host"],
    ],
)
def test_what_no_other_start_would_mend_ends_serve_as_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    assert run(capsys, "serve", "--port", "0", "--home", str(tmp_path / "home"), *flags)[0] == codes.USAGE
    assert not (tmp_path / "home").exists()


def test_a_port_that_is_taken_now_is_no_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving.bind("127.0.0.1", 0) as held:
        port = str(held.getsockname()[1])
        assert run(capsys, "serve", "--port", port, "--home", str(tmp_path / "home"))[0] == codes.FAILED
