"""Commands that are made of forms: what they send for what is typed, and what they print of the answer."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core import errors
from mcp_server.cli import arguments, connect, documents, main
from mcp_server.cli.form import Form
from mcp_server.cli.forms import FORMS
from tests import cases


class Engine:
    """Keeps what it is asked, and answers as it is told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answer: dict[str, Any] | errors.SluiceError = {}
        self.idle = False

    async def call(self, operation: str, /, **given: Any) -> dict[str, Any]:
        self.asked.append((operation, given))
        if isinstance(self.answer, errors.SluiceError):
            raise self.answer
        return self.answer

    @property
    def session(self) -> Engine:
        return self

    def subscribe(self, notice: Any) -> Callable[[], None]:
        return lambda: None

    def tell_when_idle(self) -> None:
        self.idle = True


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    stands_in = Engine()

    @contextlib.asynccontextmanager
    async def opened(common: connect.Common, *, follows: bool = False) -> AsyncIterator[Engine]:
        yield stands_in

    monkeypatch.setattr(connect, "engine", opened)
    return stands_in


TYPED: list[tuple[str, str, dict[str, Any]]] = [
    ("kv list settings --prefix a", "kv_list", {"namespace": "settings", "prefix": "a"}),
    ("kv list settings", "kv_list", {"namespace": "settings"}),
    ("variable set RATE -5", "variable_set", {"name": "RATE", "value": "-5"}),
    ("context set a=1 b=x c=[1] --job j", "context_set", {"values": {"a": 1, "b": "x", "c": [1]}, "job": "j"}),
    ("context delete a b", "context_delete", {"keys": ["a", "b"]}),
    ("context delete --every --group etl", "context_delete", {"group": "etl"}),
    ("worker update w --label a --label b", "worker_update", {"name": "w", "labels": ["a", "b"]}),
    ("worker update w --no-labels", "worker_update", {"name": "w", "labels": []}),
    ("job deploy j --no-wait", "job_deploy", {"name": "j", "wait_seconds": 0}),
    ("job show j --compare draft", "job_get", {"name": "j", "compare": 0}),
    ("secret delete a --force", "secret_delete", {"name": "a", "force": True}),
    ("audit --user ada --since 2h", "audit_list", {"username": "ada", "since": "2h"}),
    ("workflow validate greetings", "workflow_validate", {"slug": "greetings"}),
    ("workflow show greetings --graph tree", "workflow_get", {"slug": "greetings", "detail": "detailed"}),
    ("catalog show x --document", "catalog_get", {"slug": "x", "detail": "detailed"}),
    ("kv set a k 10 --ttl-ms 5", "kv_set", {"namespace": "a", "key": "k", "value": 10, "ttl_ms": 5}),
    (
        "kv set a k 10 --raw",
        "kv_set",
        {"namespace": "a", "key": "k", "value": "10", "format": "raw-string"},
    ),
    ("secret set a --from-env SECRET", "secret_set", {"name": "a", "value": "hush"}),
    ("token create --username ada", "token_create", {"username": "ada", "tenants": ["default"]}),
    (
        "token create --username ada --member a --member b --scope read --tenant c",
        "token_create",
        {"username": "ada", "tenants": ["a", "b"], "scopes": ["read"]},
    ),
    (
        "trigger invoke s --set n=1 --wait 5 --callback http://x --callback-header-env K=SECRET",
        "trigger_invoke",
        {
            "slug": "s",
            "params": {"n": 1},
            "wait_timeout_seconds": 5,
            "callback": {"url": "http://x", "headers": {"K": "hush"}},
        },
    ),
    ("runs list j --state failed --since 7d", "run_list", {"job": "j", "state": "failed", "since": "7d"}),
    ("runs show run_1", "run_get", {"run_id": "run_1"}),
    ("runs cancel run_1 --reason r", "run_cancel", {"run_id": "run_1", "reason": "r"}),
    (
        "invocation cancel i --reason r",
        "trigger_invocation_cancel",
        {"invocation_id": "i", "reason": "r"},
    ),
    (
        "invocation rerun i --unset n --idempotency-key k",
        "trigger_invocation_rerun",
        {"invocation_id": "i", "unset": ["n"], "idempotency_key": "k"},
    ),
    (
        "plan d --from workflow:w --set a=1 --place s=etl --replicas s=2 --tree --exit-code",
        "deployment_plan",
        {
            "name": "d",
            "source": "workflow:w",
            "values": {"a": 1},
            "placement": {"s": "etl"},
            "replicas": {"s": 2},
        },
    ),
    (
        "gitops promote --from dev --to prod --dry-run --wait 5 --health 9",
        "gitops_promote",
        {
            "from_environment": "dev",
            "to_environment": "prod",
            "dry_run": True,
            "health_seconds": 9,
            "wait_seconds": 0,
        },
    ),
    (
        "rollback d --to 3 --exit-code --detail detailed",
        "deployment_plan",
        {"name": "d", "to_revision": 3, "detail": "detailed"},
    ),
    ("invocation watch i --timeout 0", "trigger_invocation_get", {"invocation_id": "i"}),
    ("apply p", "deployment_apply", {"plan_id": "p", "wait_seconds": 60}),
    (
        "apply p --wait 0 --rollback-on-failure",
        "deployment_apply",
        {"plan_id": "p", "wait_seconds": 0, "rollback_on_failure": True},
    ),
    (
        'job trace --job j --message {"a":1} --sample 2',
        "job_trace",
        {"name": "j", "message": {"a": 1}, "sample": 2},
    ),
    ("messages --kind user --limit 5", "message_search", {"kind": "user", "limit": 5}),
    ("kv watch a --prefix p --seconds 5", "kv_watch", {"namespace": "a", "prefix": "p"}),
]


def test_what_is_typed_becomes_the_arguments_of_the_call(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hush")
    engine.answer = errors.NotFound("It was only to be asked.")
    with cases.every() as case:
        for typed, operation, given in TYPED:
            engine.asked.clear()
            with case(typed):
                assert main.run(typed.split()) == 1
                assert engine.asked == [(operation, given)]


REFUSED = [
    ("context delete", "Name the keys, or say --every."),
    ("context delete a --every", "Name the keys, or say --every."),
    ("trigger invoke s --callback-header a=b", "no --callback"),
    ("secret set a --from-env NOWHERE", "no environment variable NOWHERE"),
    ("plan d --replicas s=many", "--replicas s=many is not a whole number"),
    ("context set novalue", "novalue is not NAME=VALUE"),
    ("job trace - --events -", "Only one of document and events can come from standard input"),
    ("job trace --job j --message 1", "--message must be a JSON object"),
]


def test_what_cannot_be_made_an_argument_is_told_before_the_call(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    with cases.every() as case:
        for typed, said in REFUSED:
            with case(typed):
                assert main.run(typed.split()) == 1
                assert said in capsys.readouterr().err
    assert engine.asked == []


def test_what_does_not_fit_the_model_is_wrong_usage(engine: Engine) -> None:
    wrong = (
        *("rollback d", "invocation watch", "kv dead-items tickets drop"),
        *("worker list --state busy", "kv list a --limit many", "token revoke"),
    )
    assert {typed: main.run(typed.split()) for typed in wrong} == dict.fromkeys(wrong, 2)
    assert engine.asked == []


def test_a_list_is_shown_by_its_columns(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.answer = {"items": [{"name": "RATE", "value": "10", "id": "hidden"}], "next_cursor": "25"}
    assert main.run(["variable", "list"]) == 0
    said = capsys.readouterr()
    assert said.out == "NAME  VALUE\nRATE  10\n", "and nothing else is in the way of who counts the rows"
    assert said.err == "More: add --cursor 25\n"
    engine.answer = {"items": [], "next_cursor": None}
    assert main.run(["variable", "list"]) == 0
    assert "sluice variable set NAME VALUE" in capsys.readouterr().out


def test_the_hint_of_an_empty_list_goes_before_that_of_the_form(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answer = {"items": [], "next_cursor": None, "hint": "trigger_list shows which there are."}
    assert main.run(["invocation", "list"]) == 0
    assert "'sluice trigger list' shows which there are." in capsys.readouterr().out
    assert engine.idle


def test_the_faults_of_a_document_are_in_its_file(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("name: one\n")
    place = f"{documents.TEXT_ORIGIN}:1:1"
    engine.answer = {"valid": False, "message": f"{place}: no", "errors": [{"where": place, "message": "no input"}]}
    assert main.run(["job", "validate", "-f", str(file)]) == 1
    assert engine.asked == [("job_validate", {"document": "name: one\n"})]
    assert f"{file}:1:1: no\n" in capsys.readouterr().out
    engine.answer = {"valid": True, "name": "one", "errors": []}
    assert main.run(["job", "validate", "-f", str(file)]) == 0
    assert f"{file}: the job one is valid" in capsys.readouterr().out
    engine.answer = {"valid": False, "message": "1 fault", "errors": [{"pointer": "/graph", "message": "none"}]}
    assert main.run(["workflow", "validate", "greetings"]) == 1
    said = capsys.readouterr().out
    assert "draft of greetings: 1 fault" in said and "draft of greetings /graph: none" in said
    engine.answer = errors.InvalidDocument("It is none.", errors=[errors.Problem("", "no input", place)])
    assert main.run(["job", "put", "-f", str(file)]) == 1
    assert f"{file}:1:1" in capsys.readouterr().err


def test_the_faults_of_a_draft_are_in_the_draft(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    place = f"{documents.TEXT_ORIGIN}:3:1"
    engine.answer = errors.InvalidDocument("It is none.", errors=[errors.Problem("", "no input", place)])
    assert main.run(["job", "stage", "mine"]) == 1
    assert "draft of mine:3:1" in capsys.readouterr().err


def test_help_says_what_the_model_says_in_the_words_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["workflow", "clone", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "unless --as-type says otherwise" in said
    assert "[default: workflow]" in said
    assert main.run(["catalog", "install", "--help"]) == 0
    assert "as 'sluice catalog search' shows it" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_a_form_tells_its_places_from_what_stands_behind_a_flag() -> None:
    form = Form("job put -f {document} {name}")
    assert (form.path, list(form.places), form.names("document")) == ("job put", ["name"], ("--file", "-f"))


def test_every_argument_is_explained_in_words_for_people() -> None:
    explained = FORMS.keys() - {"trigger_publish", "trigger_revise"}
    silent = [f"{name}: {one.name}" for name in explained for one in arguments.of(name).values() if not one.help]
    assert silent == []


def test_a_file_in_the_place_of_what_is_saved_leads_to_its_flag(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text("kind: workflow")
    with cases.every() as case:
        for command in ("workflow validate", "workflow trace"):
            with case(command):
                assert main.run([*command.split(), str(file)]) == 1
                assert f"-f {file}" in capsys.readouterr().err and engine.asked == []
