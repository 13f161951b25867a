"""The outbox of a job: what becomes of refused events, and what waits until it is known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from core import errors
from core.channel import ChannelClosed
from core.dsl.component import Refusal, Run
from core.dsl.language.on_error import KEEP, OnError
from core.model.letter import MOST_EVENT_BYTES, Code, Posted
from core.worker import letters
from core.worker.letters import Outbox
from core.worker.redact import Redactor
from core.worker.runs import Metrics
from tests import waiting

pytestmark = pytest.mark.anyio


@dataclass
class Engine:
    """Answers calls when it is let."""

    answers: list[Any] = field(default_factory=list)  # of the next calls; then all is kept
    calls: list[tuple[int, list[Posted]]] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def post(self, missed: int, posted: Sequence[Posted]) -> tuple[int, int, bool]:
        self.calls.append((missed, list(posted)))
        await self.open.wait()
        answer = self.answers.pop(0) if self.answers else (len(posted), 0, False)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    @property
    def letters(self) -> list[Posted]:
        return [one for _, posted in self.calls for one in posted]


def outbox(engine: Engine, on_error: OnError = KEEP, redactor: Redactor | None = None) -> Outbox:
    def log(level: str, text: str, **fields: Any) -> None:
        pass

    ends = {"/input": "files", "/output": "file"}
    return Outbox(on_error, "7", ends, Metrics(), log, engine.post, lambda: redactor)


def refusal(event: Any, step: str = "/output") -> Refusal:
    return Refusal(step, Code.NO_FIELD, "no field", event)


async def test_what_is_owed_is_waited_for_in_order() -> None:
    engine, heard = Engine(), list[str]()
    box = outbox(engine)
    box.when_answered(lambda: heard.append("nothing was owed"))
    box.take(Run("r1"), refusal({"n": 1}))
    box.when_answered(lambda: heard.append("first"))
    await waiting.until(lambda: engine.calls)
    box.take(Run("r1"), refusal({"n": 2}))
    box.when_answered(lambda: heard.append("second"))
    assert heard == ["nothing was owed"]
    assert box.owed
    engine.open.set()
    await box.answered()
    assert heard == ["nothing was owed", "first", "second"]
    first, second = engine.letters
    assert (first.step, first.component, first.code, first.version) == ("/output/file", "file", "no-field", "7")
    assert [first.event, second.event] == ['{"n":1}', '{"n":2}']


async def test_nothing_is_settled_when_the_channel_ends_before_the_answer() -> None:
    engine, heard = Engine(answers=[ChannelClosed()]), list[str]()
    box = outbox(engine)
    box.take(Run(), refusal({}))
    box.when_answered(lambda: heard.append("never"))
    engine.open.set()
    await waiting.until(lambda: box._task is not None and box._task.done())
    assert heard == []
    assert box.owed


async def test_an_engine_that_cannot_answer_now_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "FIRST_PAUSE_SECONDS", 0.001)
    engine = Engine(answers=[errors.Busy("not now"), errors.Internal("a fault")])
    engine.open.set()
    box = outbox(engine)
    box.take(Run(), refusal({"n": 1}))
    await box.answered()
    assert [one.event for one in engine.letters] == ['{"n":1}'] * 3


async def test_in_a_full_box_letters_are_counted_and_hold_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "TELL_SECONDS", 0.01)
    engine = Engine(answers=[(0, 1, True)])
    engine.open.set()
    box = outbox(engine)
    box.take(Run(), refusal({"n": 1}))
    await box.answered()
    for n in range(1000):
        box.take(Run(), refusal({"n": n}))
    assert not box.owed, "and so nothing waits"
    assert box._metrics.letters_dropped == 1001
    await waiting.until(lambda: len(engine.calls) == 2)
    assert engine.calls[1] == (1000, [])


async def test_an_engine_that_keeps_no_letters_does_not_hold_up_the_job() -> None:
    engine = Engine(answers=[errors.NotFound("An engine does not know the call letters of a worker.")])
    engine.open.set()
    box = outbox(engine)
    box.take(Run(), refusal({}))
    await box.answered()
    assert box._metrics.letters_dropped == 1


async def test_the_job_waits_while_too_much_is_owed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "CROWDED_BYTES", 1000)
    engine = Engine()
    box = outbox(engine)
    box.take(Run(), refusal({"text": "x" * 2000}))
    assert box.crowded
    room = asyncio.create_task(box.room())
    await waiting.begun(room)
    assert not room.done()
    engine.open.set()
    await room


async def test_an_event_is_kept_as_it_was_when_it_was_refused() -> None:
    engine = Engine()
    engine.open.set()
    box, event = outbox(engine), {"n": 1}
    box.take(Run(), refusal(event))
    event["n"] = 2
    await box.answered()
    assert engine.letters[0].event == '{"n":1}'


async def test_secrets_and_credentials_are_not_kept_and_what_is_long_is_cut() -> None:
    engine, redactor = Engine(), Redactor()
    redactor.learn("s3cret-value")
    engine.open.set()
    box = outbox(engine, redactor=redactor)
    box.take(Run(), Refusal("/output", Code.REFUSED, "told s3cret-value", {"key": "s3cret-value"}))
    box.take(Run(), refusal({"trigger_proxy": {"nonce": "n"}, "n": 1}))
    box.take(Run(), refusal({"text": "x" * 300_000}))
    box.take(Run(), refusal({"n": 2**70}))
    await box.answered()
    secret, envelope, long, odd = engine.letters
    assert (secret.event, secret.redacted, secret.reason) == ('{"key":"***"}', True, "told ***")
    assert (envelope.event, envelope.redacted) == ('{"n":1}', False)
    assert long.truncated
    assert len(long.event or "") == 256 * 1024
    assert orjson.loads(odd.event or "") == str({"n": 2**70})


async def test_of_a_long_event_only_what_is_kept_is_looked_through_for_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    text = Redactor.text

    def counting(redactor: Redactor, value: str) -> str:
        nonlocal looked
        looked += len(value)
        return text(redactor, value)

    monkeypatch.setattr(Redactor, "text", counting)
    engine, redactor, secret = Engine(), Redactor(), "s3cret-välue"
    redactor.learn(secret)
    engine.open.set()
    box = outbox(engine, redactor=redactor)
    start = 256 * 1024 - 10 - len('{"text":"')
    for event in ({"text": "x" * start + secret + "y" * 4_000_000}, {str(i): i for i in range(100_000)}):
        box.take(Run(), refusal(event))
    box.take(Run(), refusal({"text": "a" * 200 + secret, "n": [1] * 10}))
    await box.answered()
    edge, keys, short = engine.letters
    assert edge.truncated and edge.redacted and (edge.event or "").endswith("x***")
    assert keys.truncated and not keys.redacted
    assert short.redacted and not short.truncated and secret not in (short.event or "")
    assert looked < 3 * 256 * 1024


async def test_an_event_that_is_nested_too_deep_is_kept_without_its_secrets() -> None:
    engine, redactor = Engine(), Redactor()
    redactor.learn("s3cret-value")
    engine.open.set()
    deep: object = "s3cret-value"
    for _ in range(900):
        deep = {"in": deep}
    box = outbox(engine, redactor=redactor)
    box.take(Run(), refusal(deep))
    await box.answered()
    assert engine.letters[0].redacted and "s3cret" not in (engine.letters[0].event or "")


async def test_an_event_that_has_no_form_in_json_is_kept_as_it_looks_and_not_whole() -> None:
    engine, deep = Engine(), {"n": 1}
    engine.open.set()
    for _ in range(400):
        deep = {"n": deep}
    box = outbox(engine)
    for event in ({"n": 10**30}, deep):
        box.take(Run(), refusal(event))
    await box.answered()
    assert all(one.truncated and orjson.loads(one.event or "").startswith("{'n': ") for one in engine.letters)
    assert len(engine.letters) == 2


async def test_the_invocation_and_the_message_of_the_run_are_kept() -> None:
    engine = Engine()
    engine.open.set()
    box = outbox(engine)
    msg = {"job_event": {"type": "trigger_invoke", "invocation_id": "inv_1", "params": {"x": 1}}}
    box.take(Run("r", msg), refusal({}))
    await box.answered()
    assert engine.letters[0].invocation == "inv_1"
    assert orjson.loads(engine.letters[0].message or "") == msg


async def test_a_job_may_keep_the_context_alone_log_or_fail() -> None:
    engine = Engine()
    engine.open.set()
    box = outbox(engine, OnError.model_validate({"event": False}))
    box.take(Run(), refusal({"n": 1}))
    await box.answered()
    assert engine.letters[0].event is None
    quiet = outbox(engine, OnError.model_validate("log"))
    quiet.take(Run(), refusal({"n": 1}))
    assert not quiet.owed
    with pytest.raises(errors.JobFailed, match="no field"):
        outbox(engine, OnError.model_validate("fail")).take(Run(), refusal({}))


async def test_it_counts_the_events_that_no_letter_holds_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(answers=[(1, 3, True)])
    engine.open.set()
    box = outbox(engine)
    box.take(Run(), refusal({"n": 1}))
    assert box.lost == 0
    box.take(Run(), refusal({"n": "x" * MOST_EVENT_BYTES}))
    box.take(Run(), refusal({"offset": 7}, "/input"))
    box.take(Run(), Refusal("/input", Code.SKIPPED, "locked", {"name": "o"}))  # its reader tries it again
    assert box.lost == 2
    await box.answered()
    assert box.lost == 5, "three had no room"
    box.take(Run(), refusal({"n": 2}))
    assert box.lost == 6, "nor had this one"
    alone = outbox(engine, OnError.model_validate({"event": False}))
    alone.take(Run(), refusal({"n": 1}))
    quiet = outbox(engine, OnError.model_validate("log"))
    quiet.take(Run(), refusal({"n": 1}))
    assert (alone.lost, quiet.lost) == (1, 0), "who wants none loses none"
    await alone.answered()
    box.close()


async def test_what_was_read_after_all_is_told_also_when_there_is_no_room_and_is_no_letter() -> None:
    engine, heard = Engine(answers=[(0, 1, True)]), list[str]()
    box = outbox(engine)
    run = Run("r1", letters=box)
    box.take(run, refusal({"n": 1}))
    engine.open.set()
    await box.answered()
    run.read_after_all("files: a was skipped", {"path": "a"}, lambda: heard.append("told"))
    assert heard == []
    await box.answered()
    assert heard == ["told"]
    last = engine.letters[-1]
    assert (last.read, last.step, last.code, last.event) == (True, "/input/files", "skipped", '{"path":"a"}')
    assert (box.lost, box._metrics.letters_dropped, run.skipped, run.errors) == (1, 1, 0, 0)


async def test_a_job_that_keeps_no_letters_tells_nothing_of_what_was_read() -> None:
    engine, heard = Engine(), list[str]()
    box = outbox(engine, OnError(mode="log"))
    Run("r1", letters=box).read_after_all("why", {"path": "a"}, lambda: heard.append("told"))
    assert (heard, box.owed, engine.calls) == (["told"], False, [])
